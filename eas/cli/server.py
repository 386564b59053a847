"""``eas server``: the Prefect server that ``eas run`` starts if none is configured."""

from __future__ import annotations

import time

import click

from eas import settings
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from flows.local_server import LocalServer


@click.group()
def server() -> None:
    """Show or stop the Prefect server that `eas run` started.

    It is kept for the next run, and stops after EAS_SERVER_IDLE seconds without use.
    """


@server.command()
@json_option
def status(as_json: bool) -> int:
    """Show the server's address, and whether a run uses it. Exits with 1 if no server runs."""
    found = local_server()
    address, in_use = found.address(), found.in_use()
    if as_json:
        about = {"url": address.url, **address._asdict()} if address else {}
        print_json({"running": address is not None, "in_use": in_use, **about})
    elif address is None:
        echo("no Prefect server is running; `eas run` starts one if PREFECT_API_URL is not set")
    else:
        minutes = (time.time() - address.started_at) / 60
        use = "in use by `eas run`" if in_use else f"stops when unused for {settings.load().server_idle:g} s"
        echo(f"{address.url.removesuffix('/api')}  process {address.pid}, up for {minutes:.0f} min; {use}")
    return 0 if address else 1


@server.command()
def stop() -> None:
    """Stop the server. Refused while a run uses it."""
    stopped = local_server().stop()
    echo(f"stopped {stopped.url.removesuffix('/api')}" if stopped else "no Prefect server is running")


def local_server() -> LocalServer:
    """Return the server of this home folder."""
    loaded = settings.load()
    return LocalServer(loaded.home / "prefect", loaded.server_idle)
