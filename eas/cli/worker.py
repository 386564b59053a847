"""``eas worker``: a worker in service mode."""

from __future__ import annotations

import logging
import os
import signal

import click

from eas.app import App
from eas.worker.loop import WorkerOptions


@click.command()
@click.option("--type", "types", multiple=True, metavar="WORKER_TYPE", help="Worker type; may be given several times.")
@click.option("--idle-exit", type=click.FloatRange(0), help="Leave when there was nothing to do for so long [s].")
@click.option("--time-limit", type=click.FloatRange(0), help="Claim nothing any more after so long [s].")
@click.option("--with-parent", type=int, hidden=True)
@click.option("--verbose", is_flag=True, help="Log more.")
def worker(
    types: tuple[str, ...], idle_exit: float | None, time_limit: float | None, with_parent: int | None, verbose: bool
) -> None:
    """Run tasks from the job queue until told to leave.

    On SIGTERM it finishes the running task, hands back what it has not begun, and leaves.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format=f"%(asctime)s worker {os.getpid()} %(levelname)s %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with App.load() as app:
        options = WorkerOptions(
            worker_types=types or tuple(app.registry.installed_worker_types()),
            lease=app.settings.lease,
            idle_exit=idle_exit,
            time_limit=time_limit,
            parent=with_parent,
            memory_limits=app.settings.memory_limits,
        )
        running = app.worker(options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.leave("it was told to by a signal"))
        tally = running.run()
    click.echo(
        f"worker {running.worker_id} left: {tally.done} done, {tally.failed} failed, {tally.lost} not ours any more"
    )
