"""``eas worker``: runs a worker in the foreground."""

from __future__ import annotations

import os
import signal

import click

from eas.app import App
from eas.cli.options import NumberRange
from eas.cli.output import echo, log_to_stderr
from eas.worker.worker import WorkerOptions


@click.command()
@click.option("--type", "types", multiple=True, metavar="WORKER_TYPE", help="Worker type; may be given several times.")
@click.option("--idle-exit", type=NumberRange(0), help="Exit after this time without a task [s].")
@click.option("--time-limit", type=NumberRange(0), help="Stop claiming tasks after this time [s].")
@click.option("--with-parent", type=int, hidden=True)
@click.option("--verbose", is_flag=True, help="Log more.")
def worker(
    types: tuple[str, ...], idle_exit: float | None, time_limit: float | None, with_parent: int | None, verbose: bool
) -> None:
    """Run tasks from the job queue, until SIGTERM or Ctrl-C.

    On either signal the worker finishes the running task, releases tasks that it has not started, and exits.
    """
    log_to_stderr(f"%(asctime)s worker {os.getpid()} %(levelname)s %(message)s", verbose=verbose)
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
            signal.signal(number, lambda *_: running.stop("received a signal"))
        stats = running.run()
    echo(f"worker {running.worker_id} exited: {stats.done} done, {stats.failed} failed, {stats.lost} lost")
