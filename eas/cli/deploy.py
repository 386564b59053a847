"""``eas deploy``, ``restart-workers``, ``restart-web-interface``, ``stop``, ``status``: EAS on Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eas import registry
from eas.cli.options import NumberRange, json_option, print_json
from eas.cli.output import echo
from eas.cli.terminal import Terminal
from eas.errors import RequestError

if TYPE_CHECKING:
    from infra.deploy.client import Cluster
    from infra.deploy.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
NAMESPACE = "plato"


def cluster_options(command: F) -> F:
    """Add the options that select cluster and namespace."""
    options = [
        click.option("--namespace", default=NAMESPACE, show_default=True, help="Namespace of the deployment."),
        click.option("--context", help="Context of the kubeconfig file; default: the current one."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _with_cluster(namespace: str, context: str | None, verb: Callable[[Cluster], Awaitable[R]]) -> R:
    """Call ``verb`` with the cluster."""
    from infra.deploy.client import connect

    async def run() -> R:
        async with connect(namespace, context) as cluster:
            return await verb(cluster)

    return asyncio.run(run())


def _as_only_operator(
    namespace: str, context: str | None, command: str, take_over: bool,
    verb: Callable[[Cluster, Progress], Awaitable[R]],
) -> R:  # fmt: skip
    """Call ``verb`` with the cluster while no other operator's command runs in the namespace."""
    from infra.deploy.client import namespace_exists
    from infra.deploy.operator_lease import operator_lease
    from infra.deploy.progress import Progress

    async def guarded(cluster: Cluster) -> R:
        if not await namespace_exists(cluster):
            raise RequestError(
                f"there is no namespace {namespace} on the cluster at {cluster.host}",
                hint="give --namespace or --context; `eas deploy` creates a namespace",
            )
        async with operator_lease(cluster, command, progress, take_over=take_over):
            return await verb(cluster, progress)

    with Progress() as progress:
        return _with_cluster(namespace, context, guarded)


def _images(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, image = pair.partition("=")
        if not (name and equals and image):
            raise RequestError(
                f"{pair!r} is not WORKER=IMAGE", hint="for example my-worker=registry.example/my-worker:1.0"
            )
        found[name] = image
    return found


take_over_option = click.option(
    "--take-over", is_flag=True, help="Stop another operator's command that runs in the namespace."
)
fraction_option = click.option(
    "--limit-to-system-fraction",
    "fraction",
    type=NumberRange(0, 1, min_open=True),
    help="Maximum share of the largest node for one worker; default: as before, else 0.25 on minikube.",
)


@click.command()
@click.option("--worker", "workers", multiple=True, metavar="W", help="Worker type to add; may be given several times.")
@click.option(
    "--without-worker", "without", multiple=True, metavar="W", help="Worker type to remove from the deployed ones."
)
@click.option("--worker-image", multiple=True, metavar="W=IMAGE", help="Custom image for a worker type.")
@fraction_option
@click.option(
    "--most-workers",
    type=click.IntRange(0),
    help="Maximum number of workers of each type that the scaler starts; default: as before, else 8.",
)
@click.option(
    "--web-url",
    metavar="URL",
    help="Address of `eas web` for links in Prefect; default: as before, else that of a port-forward to this machine.",
)
@click.option("--overlay", help="minikube, production, or a folder of your own; default: as before, else minikube.")
@click.option("--registry", "image_registry", help="Registry of the images; default: as before, else localhost.")
@click.option("--tag", help="Tag of the images; default: as before, else this release's.")
@click.option(
    "--queue-implementation",
    "queue",
    type=click.Choice(["sql", "amqp"]),
    help="Job queue in the task database alone, or with RabbitMQ; default: as before, else amqp.",
)
@click.option("--timeout", type=NumberRange(1), default=900.0, show_default=True, help="Give up after this time [s].")
@click.option(
    "--trouble-timeout",
    type=NumberRange(0),
    default=90.0,
    show_default=True,
    help="Fail when a pod has been failing for this time [s].",
)
@click.option("--rollback", is_flag=True, help="Restore the deployment before the last one.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@take_over_option
@cluster_options
@json_option
def deploy(namespace: str, context: str | None, as_json: bool, take_over: bool, dry_run: bool,
           worker_image: tuple[str, ...], image_registry: str | None, **given: Any) -> None:  # fmt: skip
    """Deploy EAS to a Kubernetes cluster, with the given worker types.

    Worker types deployed before are kept.

    All worker types are updated to the same release. A second call has no effect. Missing passwords are
    generated, and never shown.
    """
    from infra.deploy import deploy as verb
    from infra.deploy.progress import Progress
    from infra.deploy.record import DeploySpec
    from infra.deploy.waiting import Timeouts

    timeouts = Timeouts(given.pop("timeout"), given.pop("trouble_timeout"))
    spec = DeploySpec(namespace=namespace, worker_images=_images(worker_image), registry=image_registry, **given)
    if dry_run:
        changes = _with_cluster(namespace, context, lambda c: verb.preview(c, spec, registry.load()))
        if as_json:
            print_json({"changes": changes})
        else:
            echo("\n".join(changes) or "nothing would change")
        return
    with Progress() as progress:
        done = _with_cluster(
            namespace, context, lambda c: verb.deploy(c, spec, registry.load(), progress, timeouts, take_over=take_over)
        )
    if as_json:
        print_json(done.to_json())
        return
    for name, each in done.workers.items():
        echo(f"worker type {name}: {each.cpu:g} cores, {each.memory:g} GB, {each.gpu} GPUs for its tasks")
    for warning in done.warnings:
        echo(f"warning: {warning}\n  -> give --limit-to-system-fraction", err=True)
    echo(verb.next_steps(namespace))


@click.command("restart-workers")
@fraction_option
@take_over_option
@cluster_options
def restart_workers(namespace: str, context: str | None, fraction: float | None, take_over: bool) -> None:
    """Stop all workers gracefully; new ones use the newest image, and the share of a node given here."""
    from infra.deploy import operate
    from infra.deploy.deploy import limit_workers
    from infra.deploy.progress import Progress

    if fraction is not None:
        share = fraction
        with Progress() as progress:
            _with_cluster(
                namespace, context, lambda c: limit_workers(c, share, registry.load(), progress, take_over=take_over)
            )
    left = _as_only_operator(namespace, context, "eas restart-workers", take_over, operate.restart_workers)
    echo(f"{len(left)} workers stopped; the scaler starts new ones when tasks are queued")


@click.command("restart-web-interface")
@take_over_option
@cluster_options
def restart_web_interface(namespace: str, context: str | None, take_over: bool) -> None:
    """Restart the Prefect server and `eas web`; running jobs continue."""
    from infra.deploy import operate

    _as_only_operator(namespace, context, "eas restart-web-interface", take_over, operate.restart_web_interface)


@click.command()
@take_over_option
@cluster_options
def stop(namespace: str, context: str | None, take_over: bool) -> None:
    """Stop all pods, workers first; volumes (input, output, databases) and Secrets stay."""
    from infra.deploy import operate

    if not _as_only_operator(namespace, context, "eas stop", take_over, operate.stop):
        echo(f"nothing was running in namespace {namespace}")


@click.command()
@cluster_options
@json_option
def status(namespace: str, context: str | None, as_json: bool) -> int:
    """Show pods, queues, workers and the last errors. Exits with 1 if a pod fails or none runs."""
    from infra.deploy import status as verb

    found = _with_cluster(namespace, context, verb.look)
    if as_json:
        print_json(found.to_json())
    else:
        verb.show(found, Terminal())
    return 0 if found.well else 1
