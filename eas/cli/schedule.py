"""``eas schedule``: the supervisor in the foreground."""

from __future__ import annotations

import logging
import signal
import threading

import click

from eas.app import App
from eas.control.supervisor import Supervisor, SupervisorOptions, driver_of


@click.command()
@click.option("--until-idle", type=click.FloatRange(0), metavar="S", help="Leave when no job was unfinished for S s.")
@click.option("--time-limit", type=click.FloatRange(0), metavar="S", help="Leave after S s, giving the jobs back.")
@click.option("--workers", type=click.IntRange(0, 1000), default=0, show_default=True, help="Local workers to start.")
@click.option("--most-jobs", type=click.IntRange(1, 1000), default=8, show_default=True, help="Jobs run at once.")
@click.option("--verbose", is_flag=True, help="Log more.")
def schedule(until_idle: float | None, time_limit: float | None, workers: int, most_jobs: int, verbose: bool) -> int:
    """Run every job that is submitted, or whose driver is gone, until told to stop.

    Tasks run on workers (`eas worker`, or --workers N). Several of these may run at once; SIGTERM
    and Ctrl-C leave the jobs for others. Exits with 1 if a job that it ran did not succeed.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with App.load() as app, app.local_workers(workers) as local:
        options = SupervisorOptions(
            most_jobs=most_jobs, until_idle=until_idle, time_limit=time_limit, heartbeat_lease=app.settings.lease
        )
        runs = driver_of(app.orchestrator)
        account = Supervisor(app.database, app.queue, runs, options, stop=stop, check=local.check).run()
    click.echo(f"{account.done} jobs done, {account.failed} failed, {account.cancelled} cancelled")
    return 1 if account.failed else 0
