"""``eas deploy``: creates or updates a deployment that runs jobs. Idempotent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eas.errors import RequestError
from eas.names import closest_names
from eas.registry import BASE_WORKER_TYPE, Registry, WorkerType
from infra.deploy import addresses, dry_run, manifests, pods, probe, record, secrets, waiting
from infra.deploy.client import Cluster, NoRightsError, namespace_exists
from infra.deploy.manifests import Images
from infra.deploy.operate import SETUP_SELECTOR
from infra.deploy.operator_lease import operator_lease
from infra.deploy.progress import Progress
from infra.deploy.record import DeploySpec, Record
from infra.deploy.resources import Capacity, PodResources, assign, does_not_fit_reason, largest_node
from infra.images import target_of

Object = dict[str, Any]
COMMAND = "eas deploy"


@dataclass(frozen=True)
class Deployed:
    """Result of a deployment. ``workers``: resources by worker type; ``warnings``: for the operator."""

    namespace: str
    secrets: Sequence[str]
    workers: Mapping[str, PodResources]
    warnings: Sequence[str]

    def to_json(self) -> Object:
        """Return it as plain data."""
        return {
            "namespace": self.namespace,
            "secrets_made": list(self.secrets),
            "workers": {name: each.to_json() for name, each in self.workers.items()},
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Plan:
    """Plan of a deployment; ``node`` is the largest node, None if it is unknown."""

    spec: DeploySpec
    record: Record
    images: Images
    chosen: Mapping[str, str]
    assigned: Mapping[str, PodResources]
    objects: Sequence[Object]
    node: Capacity | None

    @property
    def other_images(self) -> set[str]:
        """Third-party images: databases and brokers."""
        prefix = f"{self.images.registry}/eas-"
        return {image for each in self.objects for image in manifests.images(each) if not image.startswith(prefix)}

    @property
    def decided(self) -> Object:
        """Return the input of `infra.deploy.setup`."""
        workers = {name: {**self.assigned[name].to_json(), "image": self.chosen[name]} for name in self.chosen}
        web_url = self.spec.web_url or addresses.WEB_URL
        return {"image": self.images.name("base"), "workers": workers, "web_url": web_url}

    def setup_job(self, number: int, priority_class: str) -> Object:
        """Return the Job that prepares the services, labelled with the number of this command."""
        decided = self.decided | {"number": number, "priority_class": priority_class}
        return manifests.setup_job(self.spec.namespace, self.images, decided)


async def deploy(
    cluster: Cluster,
    spec: DeploySpec,
    registry: Registry,
    progress: Progress,
    timeouts: waiting.Timeouts | None = None,
    *,
    take_over: bool = False,
) -> Deployed:
    """Deploy the services and the requested worker types, and wait until they are ready.

    Raises RequestError, before any change, if the spec cannot be fulfilled, and ClusterError if the
    cluster is unreachable, refuses, or lacks resources, or another operator's command is running.
    """
    record.check(spec)
    before = await record.load(cluster)
    plan = await _plan(cluster, spec, registry, before)
    await _apply_namespace(cluster, plan.objects, before, progress)
    async with operator_lease(cluster, COMMAND, progress, take_over=take_over) as number:
        now = await record.load(cluster)
        if now != before:  # another command has ended meanwhile
            before, plan = now, await _plan(cluster, spec, registry, now)
        timeouts = timeouts or waiting.Timeouts()
        await _probe(cluster, plan, before, progress, timeouts)
        made = await _execute(cluster, plan, number, progress, timeouts)
        await record.save(cluster, before.succeeded_by(plan.record))
    warnings = [text for name, each in plan.assigned.items() if (text := does_not_fit_reason(name, each, plan.node))]
    return Deployed(plan.spec.namespace, made, plan.assigned, warnings)


async def preview(cluster: Cluster, spec: DeploySpec, registry: Registry) -> list[str]:
    """Return a line for each change that `deploy` would make to the cluster, without making it.

    Raises what `deploy` raises for a request that cannot be fulfilled.
    """
    record.check(spec)
    before = await record.load(cluster)
    plan = await _plan(cluster, spec, registry, before)
    needed = manifests.secrets_needed(plan.objects)
    lines = await dry_run.changes(cluster, plan.objects, [name for name in secrets.NAMES if name in needed])
    old, new = dict.fromkeys((BASE_WORKER_TYPE, *before.workers)), dict.fromkeys(plan.spec.workers)
    lines += [f"+ worker type {name}" for name in new if name not in old or not before.exists]
    lines += [f"- worker type {name}" for name in old if name not in new]
    return lines + [f"+ image {image}" for image in plan.record.images if image not in before.images]


async def _plan(cluster: Cluster, asked: DeploySpec, registry: Registry, before: Record) -> Plan:
    node = await _largest_node(cluster, required=asked.fraction is not None)
    return resolve_options(asked, registry, before, node)


def resolve_options(asked: DeploySpec, registry: Registry, before: Record, node: Capacity | None) -> Plan:
    """Return the plan of a deployment, without changing anything.

    Raises RequestError for what cannot be fulfilled.
    """
    for name in asked.without:
        if name not in before.workers:
            _worker_type(name, registry, asked)
    after = before.rolled_back() if asked.rollback else before.extended(asked)
    spec = after.to_spec(asked.namespace)
    types = [_worker_type(name, registry, asked) for name in spec.workers]
    images = Images(spec.registry or Images.registry, spec.tag or Images.tag)
    chosen = {each.name: _image(each, images, spec) for each in types}
    assigned = {each.name: assign(each, node, spec.fraction) for each in types}
    objects = _objects(spec, images)
    used = {image for each in objects for image in manifests.images(each)} | set(chosen.values())
    return Plan(spec, replace(after, images=tuple(sorted(used))), images, chosen, assigned, objects, node)


async def _probe(cluster: Cluster, plan: Plan, before: Record, progress: Progress, timeouts: waiting.Timeouts) -> None:
    """Check that new images can be pulled and start, before running services are changed."""
    await _apply_all(cluster, [each for each in plan.objects if each["kind"] == "ServiceAccount"])
    ours = set(plan.record.images) - plan.other_images - set(before.images)
    await probe.images(cluster, ours, plan.other_images - set(before.images), progress, timeouts)


async def _execute(
    cluster: Cluster, plan: Plan, number: int, progress: Progress, timeouts: waiting.Timeouts
) -> list[str]:
    """Apply services, setup Job and what depends on it, in this order; return the created Secrets."""
    made = await _apply_services(cluster, plan.objects, plan.spec, progress)
    await _wait_until_ready(
        cluster, [each for each in plan.objects if manifests.is_applied_before_setup(each)], progress, timeouts
    )
    await _set_up(cluster, plan.setup_job(number, await _priority_class(cluster, progress)), progress, timeouts)
    late = [each for each in plan.objects if not manifests.is_applied_before_setup(each)]
    await _apply_all(cluster, late)
    await _wait_until_ready(cluster, late, progress, timeouts)
    return made


def _worker_type(name: str, registry: Registry, asked: DeploySpec) -> WorkerType:
    found = registry.worker_types.get(name)
    if found is None and name not in (*asked.workers, *asked.without):
        raise RequestError(
            f"the worker type {name} is deployed, but not installed here",
            hint=f"install the package that defines it, or give --without-worker {name}",
        )
    if found is None:
        near = closest_names(name, registry.worker_types, cutoff=0.3) or sorted(registry.worker_types)
        raise RequestError(f"there is no worker type {name}", hint=f"choose from: {', '.join(near)}")
    return found


def _image(worker_type: WorkerType, images: Images, spec: DeploySpec) -> str:
    if own := spec.worker_images.get(worker_type.name):
        return own
    target = target_of(worker_type)
    if target is None:
        raise RequestError(
            f"no image of EAS runs {worker_type.name}", hint=f"give one: --worker-image {worker_type.name}=IMAGE"
        )
    return images.name(target)


async def limit_workers(
    cluster: Cluster, fraction: float, registry: Registry, progress: Progress, *, take_over: bool = False
) -> Deployed:
    """Give each deployed worker type at most this fraction of the largest node, from its next start on.

    Raises RequestError where nothing is deployed in the namespace, or where the fraction is too small.
    """
    if not (await record.load(cluster)).exists:
        raise RequestError(f"EAS is not deployed in namespace {cluster.namespace}", hint="run `eas deploy` first")
    return await deploy(
        cluster, DeploySpec(cluster.namespace, fraction=fraction), registry, progress, take_over=take_over
    )


async def _largest_node(cluster: Cluster, *, required: bool) -> Capacity | None:
    """Return the largest node; None if it cannot be read and no share of it was requested."""
    try:
        node = largest_node(await cluster.list("Node"))
    except NoRightsError:
        if not required:
            return None
        raise
    if node is None and required:
        raise RequestError("the cluster has no schedulable node", hint="add one, or `kubectl uncordon` one")
    return node


def _objects(spec: DeploySpec, images: Images) -> list[Object]:
    folder = manifests.overlay_folder(spec.overlay or "minikube")
    objects = manifests.customise(manifests.render(folder), spec.namespace, images)
    if spec.queue == "sql":
        manifests.scale_to_zero(objects, "rabbitmq")
    if spec.web_url is not None:
        manifests.set_variable(objects, "EAS_WEB_URL", spec.web_url)
    if spec.most_workers is not None:
        manifests.set_variable(objects, "EAS_MOST_WORKERS", str(spec.most_workers))
    return objects


async def _apply_services(
    cluster: Cluster, objects: Sequence[Object], spec: DeploySpec, progress: Progress
) -> list[str]:
    """Create missing Secrets, and apply the objects that the setup requires."""
    made = await secrets.ensure(cluster, manifests.secrets_needed(objects), spec.queue or "amqp")
    if made:
        progress.print_line(f"created the Secrets {', '.join(made)}")
    early = [each for each in objects if each["kind"] != "Namespace" and manifests.is_applied_before_setup(each)]
    await _apply_all(cluster, early)
    progress.print_line(f"applied {len(early) + 1} objects to namespace {spec.namespace}")
    return made


async def _apply_namespace(cluster: Cluster, objects: Sequence[Object], before: Record, progress: Progress) -> None:
    """Apply the namespace; skip it if the caller may only use an existing one."""
    if before.exists:
        await record.save(cluster, before)  # applying the namespace removes what an earlier release wrote there
    try:
        await _apply_all(cluster, [each for each in objects if each["kind"] == "Namespace"])
    except NoRightsError:
        if not await namespace_exists(cluster):
            raise
        progress.print_line(f"namespace {cluster.namespace} itself is not changed: you lack the rights")


async def _apply_all(cluster: Cluster, objects: Sequence[Object]) -> None:
    for each in objects:
        await cluster.apply(each)


async def _wait_until_ready(
    cluster: Cluster, objects: Sequence[Object], progress: Progress, timeouts: waiting.Timeouts
) -> None:
    workloads = [each for each in objects if each["kind"] in ("Deployment", "StatefulSet")]
    await waiting.for_workloads(cluster, workloads, progress, timeouts)
    progress.print_line(f"ready: {', '.join(sorted(each['metadata']['name'] for each in workloads))}")


async def _priority_class(cluster: Cluster, progress: Progress) -> str:
    """Create the PriorityClass of workers, and return its name; empty if the caller lacks the rights."""
    wanted = manifests.priority_class()
    try:
        if await cluster.get("PriorityClass", pods.name_of(wanted)) is None:  # its value cannot be changed
            await cluster.apply(wanted)
    except NoRightsError:
        progress.print_line(
            f"workers get no PriorityClass: you may not create {pods.name_of(wanted)}; on a full node, "
            "`eas deploy` asks workers to exit instead"
        )
        return ""
    return str(wanted["metadata"]["name"])


async def _set_up(cluster: Cluster, job: Object, progress: Progress, timeouts: waiting.Timeouts) -> None:
    """Run the setup Job, after removing earlier ones; an abandoned Job does not run later."""
    name = job["metadata"]["name"]
    for old in await cluster.list("Job", SETUP_SELECTOR):
        await waiting.remove_job(cluster, pods.name_of(old), progress, timeouts)
    try:
        await cluster.create(job)
        await waiting.for_job(cluster, name, progress, timeouts)
    except BaseException as error:
        if not isinstance(error, waiting.JobFailedError):
            await cluster.delete("Job", name)
        raise
    progress.print_line("set up: schema, queues, work pool, deployments")


def next_steps(namespace: str) -> str:
    """Return suggestions for the next steps."""
    interfaces = "".join(f"{line}\n" for line in addresses.lines(namespace, addresses.SERVICES))
    return (
        f"{interfaces}"
        f"A job: kubectl -n {namespace} exec -i deploy/supervisor -c supervisor -- eas submit /dev/stdin < chain.json\n"
        f"More workers: eas deploy --namespace {namespace} --worker eas-worker-tls\n"
        f"Status: eas status --namespace {namespace}"
    )
