"""``eas workers``: who is alive, doing what."""

from __future__ import annotations

import sys
import time

import click

from eas.app import App
from eas.cli.options import json_option


@click.command()
@click.option("--all", "everything", is_flag=True, help="Those that have left or were lost, too.")
@json_option
def workers(everything: bool, as_json: bool) -> None:
    """Show the workers that are alive, and what they run. `eas report workers` knows filters and CSV."""
    from rich.console import Console

    from eas.taskdb.reading import Filters, snapshot
    from reports import assemble, tables

    with App.load() as app, snapshot(app.database) as connection:
        frame = assemble.workers(connection, Filters(), time.time())
    if not everything:
        frame = frame[frame["state"] == "alive"].drop(columns=["ended [UTC]", "reason"])
    if as_json:
        tables.write_json_list([frame], sys.stdout)
        sys.stdout.write("\n")
    else:
        frame = frame.drop(columns=["started [UTC]", "heartbeat [UTC]"])
        tables.show(frame, Console(), title="workers", empty="no worker is alive (--all shows those that have left)")
