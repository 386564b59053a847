"""``eas schedule``: the supervisor in the foreground."""

from __future__ import annotations

import signal
import threading

import click

from eas import metrics
from eas.app import App
from eas.cli.options import NumberRange
from eas.cli.output import echo, log_to_stderr
from eas.orchestration.drive import job_runner
from eas.orchestration.supervisor import Supervisor, SupervisorOptions


@click.command()
@click.option("--until-idle", type=NumberRange(0), metavar="S", help="Exit after S seconds without an unfinished job.")
@click.option("--time-limit", type=NumberRange(0), metavar="S", help="Release the jobs and exit after S seconds.")
@click.option("--workers", type=click.IntRange(0, 1000), default=0, show_default=True, help="Local workers to start.")
@click.option(
    "--most-jobs",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Maximum number of jobs that run at once.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve metrics for Prometheus at this port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Listen address of the metrics.")
@click.option("--verbose", is_flag=True, help="Log more.")
def schedule(
    until_idle: float | None,
    time_limit: float | None,
    workers: int,
    most_jobs: int,
    metrics_port: int | None,
    metrics_host: str,
    verbose: bool,
) -> int:
    """Run every submitted or interrupted job, until SIGTERM or Ctrl-C.

    Tasks run on workers (`eas worker`, or --workers N). Several supervisors may run at once; one that
    exits releases its jobs. Exits with 1 if a job that it ran did not succeed.
    """
    log_to_stderr("%(asctime)s %(name)s %(levelname)s %(message)s", verbose=verbose)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with App.load() as app, app.local_workers(workers) as local:
        options = SupervisorOptions(
            max_jobs=most_jobs, until_idle=until_idle, time_limit=time_limit, heartbeat_lease=app.settings.lease
        )
        run_job = job_runner(app.orchestrator)
        supervisor = Supervisor(app.database, app.queue, run_job, options, stop=stop, check=local.check)
        with metrics.endpoint(app.database, app.settings.lease, metrics_port, metrics_host):
            stats = supervisor.run()
    echo(f"{stats.done} jobs done, {stats.failed} failed, {stats.cancelled} cancelled")
    return 1 if stats.failed else 0
