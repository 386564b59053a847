"""``eas deploy``: from an empty namespace to a deployment that runs jobs; twice changes nothing."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eas.errors import RequestError
from eas.registry import BASE_WORKER_TYPE, Registry, WorkerType
from infra.deploy import manifests, secrets, waiting
from infra.deploy.client import Cluster, NoRightsError
from infra.deploy.manifests import Images
from infra.deploy.progress import Progress
from infra.deploy.resources import Assigned, Capacity, assign, largest, misfit
from infra.images import target_of

Object = dict[str, Any]
MINIKUBE_FRACTION = 0.25
REMEMBERED = ("overlay", "registry", "tag", "queue", "fraction")
NOTE = "eas-deployment"
"""Annotation of the namespace: how it was deployed last."""


@dataclass(frozen=True)
class Wish:
    """What the operator asks for; None means: as it was deployed last, else the default.

    ``worker_images`` maps worker types to images of the operator's own; ``fraction`` is the share of
    the largest node that one worker may get, by default a quarter on minikube, elsewhere any.
    """

    namespace: str = manifests.DEFAULT_NAMESPACE
    overlay: str | None = None
    registry: str | None = None
    tag: str | None = None
    queue: str | None = None
    workers: tuple[str, ...] = ()
    worker_images: Mapping[str, str] = field(default_factory=dict)
    fraction: float | None = None


@dataclass(frozen=True)
class Deployed:
    """What was done. ``workers`` maps worker types to what they get; ``warnings`` are for people."""

    namespace: str
    secrets: Sequence[str]
    workers: Mapping[str, Assigned]
    warnings: Sequence[str]

    def to_json(self) -> Object:
        """Return it as plain data."""
        return {
            "namespace": self.namespace,
            "secrets_made": list(self.secrets),
            "workers": {name: each.to_json() for name, each in self.workers.items()},
            "warnings": list(self.warnings),
        }


async def deploy(
    cluster: Cluster, wish: Wish, registry: Registry, progress: Progress, patience: waiting.Patience | None = None
) -> Deployed:
    """Deploy the services and the worker types asked for, and wait until they work.

    Raises RequestError where the wish cannot be fulfilled (nothing was changed then), ClusterError
    where the cluster is away, refuses, or has no room.
    """
    patience = patience or waiting.Patience()
    explicit = wish.fraction is not None
    types = [_worker_type(name, registry) for name in dict.fromkeys((BASE_WORKER_TYPE, *wish.workers))]
    wish, note = await _completed(cluster, wish)
    images = Images(wish.registry or Images.registry, wish.tag or Images.tag)
    chosen = {each.name: _image(each, images, wish) for each in types}
    node = await _largest_node(cluster, required=explicit)
    assigned = {each.name: assign(each, node, wish.fraction) for each in types}
    objects = _objects(wish, images, note)
    made = await _apply_services(cluster, objects, wish, progress)
    await _ready(cluster, [each for each in objects if manifests.early(each)], progress, patience)
    decided = {
        "image": images.name("base"),
        "workers": {name: {**assigned[name].to_json(), "image": chosen[name]} for name in chosen},
    }
    await _set_up(cluster, manifests.setup_job(wish.namespace, images, decided, _suffix()), progress, patience)
    late = [each for each in objects if not manifests.early(each)]
    for each in late:
        await cluster.apply(each)
    await _ready(cluster, late, progress, patience)
    warnings = [text for name, each in assigned.items() if (text := misfit(name, each, node))]
    return Deployed(wish.namespace, made, assigned, warnings)


def _worker_type(name: str, registry: Registry) -> WorkerType:
    found = registry.worker_types.get(name)
    if found is None:
        near = difflib.get_close_matches(name, registry.worker_types, n=3, cutoff=0.3) or sorted(registry.worker_types)
        raise RequestError(f"there is no worker type {name}", cure=f"choose from: {', '.join(near)}")
    return found


def _image(worker_type: WorkerType, images: Images, wish: Wish) -> str:
    if own := wish.worker_images.get(worker_type.name):
        return own
    target = target_of(worker_type)
    if target is None:
        raise RequestError(
            f"no image of EAS runs {worker_type.name}", cure=f"give your own: --worker-image {worker_type.name}=IMAGE"
        )
    return images.name(target)


async def _completed(cluster: Cluster, wish: Wish) -> tuple[Wish, Object]:
    """Fill in what the operator left out; return the whole wish, and what is to be remembered of it.

    What was ever asked for is remembered; defaults are not: they may change with the release.
    """
    found = await cluster.get("Namespace", wish.namespace)
    last = json.loads(((found or {}).get("metadata", {}).get("annotations") or {}).get(NOTE, "{}"))
    asked = {key: value for key in REMEMBERED if (value := getattr(wish, key)) is not None}
    note = {key: value for key, value in (last | asked).items() if key in REMEMBERED}
    overlay = note.get("overlay", "minikube")
    share = MINIKUBE_FRACTION if overlay == "minikube" else None
    defaults = {"overlay": overlay, "registry": Images.registry, "tag": Images.tag, "queue": "amqp", "fraction": share}
    return replace(wish, **(defaults | note)), note


async def _largest_node(cluster: Cluster, *, required: bool) -> Capacity | None:
    """Return the largest node; None where that cannot be known and nobody asked for a share of it."""
    try:
        node = largest(await cluster.list("Node"))
    except NoRightsError:
        if not required:
            return None
        raise
    if node is None and required:
        raise RequestError("the cluster has no node that takes pods", cure="add one, or `kubectl uncordon` one")
    return node


def _objects(wish: Wish, images: Images, note: Object) -> list[Object]:
    folder = manifests.overlay_folder(wish.overlay or "minikube")
    objects = manifests.customise(manifests.render(folder), wish.namespace, images)
    if wish.queue == "sql":
        manifests.switch_off(objects, "rabbitmq")
    for each in objects:
        if each["kind"] == "Namespace":
            each["metadata"].setdefault("annotations", {})[NOTE] = json.dumps(note, sort_keys=True)
    return objects


async def _apply_services(cluster: Cluster, objects: Sequence[Object], wish: Wish, progress: Progress) -> list[str]:
    """Apply what comes before the setup; make missing Secrets as soon as there is a namespace."""
    await _apply_namespace(cluster, objects, progress)
    made = await secrets.ensure(cluster, manifests.secrets_needed(objects), wish.queue or "amqp")
    if made:
        progress.say(f"made the Secrets {', '.join(made)}")
    early = [each for each in objects if each["kind"] != "Namespace" and manifests.early(each)]
    await _apply_all(cluster, early)
    progress.say(f"applied {len(early) + 1} objects to namespace {wish.namespace}")
    return made


async def _apply_namespace(cluster: Cluster, objects: Sequence[Object], progress: Progress) -> None:
    """Apply the namespace; who may only work inside one that is there already goes on without."""
    try:
        await _apply_all(cluster, [each for each in objects if each["kind"] == "Namespace"])
    except NoRightsError:
        if await cluster.get("Namespace", cluster.namespace) is None:
            raise
        progress.say(f"namespace {cluster.namespace} itself is left as it is: you may not change it")


async def _apply_all(cluster: Cluster, objects: Sequence[Object]) -> None:
    for each in objects:
        await cluster.apply(each)


async def _ready(cluster: Cluster, objects: Sequence[Object], progress: Progress, patience: waiting.Patience) -> None:
    workloads = [each for each in objects if each["kind"] in ("Deployment", "StatefulSet")]
    await waiting.for_workloads(cluster, workloads, progress, patience)
    progress.say(f"ready: {', '.join(sorted(each['metadata']['name'] for each in workloads))}")


async def _set_up(cluster: Cluster, job: Object, progress: Progress, patience: waiting.Patience) -> None:
    await cluster.create(job)
    await waiting.for_job(cluster, job["metadata"]["name"], progress, patience)
    progress.say("set up: schema, queues, work pool, deployments")


def _suffix() -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{time.time_ns() % 1000:03d}"


def what_next(namespace: str) -> str:
    """Return what the operator may want to do now."""
    forward = f"kubectl -n {namespace} port-forward service"
    return (
        f"The web interface: {forward}/prefect-server 4200, then http://127.0.0.1:4200\n"
        f"A job: kubectl -n {namespace} exec -i deploy/supervisor -c supervisor -- eas submit /dev/stdin < chain.json\n"
        f"More workers: eas deploy --namespace {namespace} --worker eas-worker-tls\n"
        f"How it goes: eas status --namespace {namespace}"
    )
