"""``eas deploy``, ``restart-workers``, ``restart-web-interface``, ``stop``, ``status``: EAS on Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eas import registry
from eas.cli.options import json_option, print_json
from eas.errors import RequestError

if TYPE_CHECKING:
    from infra.deploy.client import Cluster

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
NAMESPACE = "plato"


def cluster_options(command: F) -> F:
    """Add the options that say which cluster and namespace are meant."""
    options = [
        click.option("--namespace", default=NAMESPACE, show_default=True, help="Namespace of the deployment."),
        click.option("--context", help="Context of the kubeconfig file; default: the current one."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _ask(namespace: str, context: str | None, verb: Callable[[Cluster], Awaitable[R]]) -> R:
    """Do something with the cluster."""
    from infra.deploy.client import connect

    async def run() -> R:
        async with connect(namespace, context) as cluster:
            return await verb(cluster)

    return asyncio.run(run())


def _images(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, image = pair.partition("=")
        if not (name and equals and image):
            raise RequestError(
                f"{pair!r} is not WORKER=IMAGE", cure="write it as my-worker=registry.example/my-worker:1.0"
            )
        found[name] = image
    return found


@click.command()
@click.option("--worker", "workers", multiple=True, metavar="W", help="Worker type to add; may be given several times.")
@click.option("--worker-image", multiple=True, metavar="W=IMAGE", help="Image of your own for a worker type.")
@click.option(
    "--limit-to-system-fraction",
    "fraction",
    type=click.FloatRange(0, 1, min_open=True),
    help="One worker gets at most this share of the largest node; default: as before, else 0.25 on minikube.",
)
@click.option("--overlay", help="minikube, production, or a folder of your own; default: as before, else minikube.")
@click.option("--registry", "image_registry", help="Where the images are; default: as before, else localhost.")
@click.option("--tag", help="Tag of the images; default: as before, else this release's.")
@click.option(
    "--queue-implementation",
    "queue",
    type=click.Choice(["sql", "amqp"]),
    help="Job queue in SQL alone, or with RabbitMQ; default: as before, else amqp.",
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=900.0, show_default=True, help="Give up after so long [s]."
)
@click.option(
    "--trouble-timeout",
    type=click.FloatRange(0),
    default=90.0,
    show_default=True,
    help="Give up when a pod has been in trouble for so long [s].",
)
@cluster_options
@json_option
def deploy(namespace: str, context: str | None, as_json: bool, timeout: float, trouble_timeout: float,
           worker_image: tuple[str, ...], image_registry: str | None, **given: Any) -> None:  # fmt: skip
    """Deploy EAS to a Kubernetes cluster, and the worker types that are named.

    Twice changes nothing. Passwords are made where there are none, and never shown.
    """
    from infra.deploy import deploy as verb
    from infra.deploy.progress import Progress
    from infra.deploy.waiting import Patience

    wish = verb.Wish(namespace=namespace, worker_images=_images(worker_image), registry=image_registry, **given)
    patience = Patience(timeout, trouble_timeout)
    with Progress() as progress:
        done = _ask(namespace, context, lambda c: verb.deploy(c, wish, registry.load(), progress, patience))
    if as_json:
        print_json(done.to_json())
        return
    for name, each in done.workers.items():
        click.echo(f"worker type {name}: {each.cpu:g} cores, {each.memory:g} GB, {each.gpu} GPUs for its tasks")
    for warning in done.warnings:
        click.echo(f"warning: {warning}\n  -> give --limit-to-system-fraction", err=True)
    click.echo(verb.what_next(namespace))


@click.command("restart-workers")
@cluster_options
def restart_workers(namespace: str, context: str | None) -> None:
    """Let all workers finish or hand back their tasks and leave; new ones use the newest image."""
    from infra.deploy import operate
    from infra.deploy.progress import Progress

    with Progress() as progress:
        left = _ask(namespace, context, lambda c: operate.restart_workers(c, progress))
    click.echo(f"{len(left)} workers left; new ones start as the queues ask for them")


@click.command("restart-web-interface")
@cluster_options
def restart_web_interface(namespace: str, context: str | None) -> None:
    """Start the Prefect server anew; running jobs go on."""
    from infra.deploy import operate
    from infra.deploy.progress import Progress

    with Progress() as progress:
        _ask(namespace, context, lambda c: operate.restart_web_interface(c, progress))


@click.command()
@cluster_options
def stop(namespace: str, context: str | None) -> None:
    """Stop all pods, workers first; volumes (input, output, databases) and Secrets stay."""
    from infra.deploy import operate
    from infra.deploy.progress import Progress

    with Progress() as progress:
        stopped = _ask(namespace, context, lambda c: operate.stop(c, progress))
    if not stopped:
        click.echo(f"nothing was running in namespace {namespace}")


@click.command()
@cluster_options
@json_option
def status(namespace: str, context: str | None, as_json: bool) -> int:
    """Show pods, queues, workers and the last errors. Exits with 1 if a pod is in trouble or none runs."""
    from rich.console import Console

    from infra.deploy import status as verb

    found = _ask(namespace, context, verb.look)
    if as_json:
        print_json(found.to_json())
    else:
        verb.show(found, Console())
    return 0 if found.well else 1
