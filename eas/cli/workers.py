"""``eas workers``: the workers that are alive, and what they run."""

from __future__ import annotations

import sys

import click

from eas.app import App
from eas.cli.options import json_option
from eas.cli.terminal import Terminal
from eas.states import WorkerState


@click.command()
@click.option("--all", "everything", is_flag=True, help="Include workers that exited or were lost.")
@json_option
def workers(everything: bool, as_json: bool) -> None:
    """Show the workers that are alive, and what they run. `eas report workers` has filters and CSV."""
    from eas.taskdb.queries.reports import Filters, snapshot
    from reports import assemble, tables

    with App.load() as app, snapshot(app.database) as connection:
        frame = assemble.workers(connection, Filters(), app.database.now())
    if not everything:
        frame = frame[frame["state"] == WorkerState.ALIVE].drop(columns=["ended [UTC]", "reason"])
    if as_json:
        tables.write_json_list([frame], sys.stdout)
        sys.stdout.write("\n")
    else:
        frame = frame.drop(columns=["started [UTC]", "heartbeat [UTC]"])
        tables.show(frame, Terminal(), title="workers", empty="no worker is alive (--all includes exited ones)")
