"""``eas cancel`` and ``eas reschedule``: what operators do to jobs."""

from __future__ import annotations

import click

from eas.app import App
from eas.cli.options import json_option, print_json
from eas.control import cancel as cancelling
from eas.control import reschedule as rescheduling


@click.command()
@click.argument("job", metavar="JOB")
@json_option
def cancel(job: str, as_json: bool) -> None:
    """Cancel a job: drop what is queued, stop what runs, keep the file products made so far.

    JOB is a job's id, or the name of the one unfinished job called so. Running tasks end at their
    worker's next heartbeat at the latest. To run the rest after all: eas reschedule --job-id JOB.
    """
    with App.load() as app:
        done = cancelling.cancel(app.database, app.queue, cancelling.find_job(app.database, job))
    if as_json:
        print_json(done.to_json())
    else:
        click.echo(done.message)


@click.command()
@click.option("--job-name", metavar="NAME", help="Only jobs of this name.")
@click.option("--job-id", type=int, metavar="ID", help="Only this job, also where it was cancelled.")
@json_option
def reschedule(job_name: str | None, job_id: int | None, as_json: bool) -> None:
    """Let tasks that failed, stalled or were taken off the queue wait to be run again.

    So does what they blocked. What is queued, running or done is left alone, and so are cancelled
    jobs that are not asked for. The jobs run when somebody drives them: `eas schedule`,
    `eas run --resume JOB`, or who does so already.
    """
    with App.load() as app:
        done = rescheduling.reschedule(app.database, app.queue, job_name=job_name, job_id=job_id)
    if as_json:
        print_json(done.to_json())
        return
    click.echo(done.message)
    for job, counts in done.jobs.items():
        what = ", ".join(f"{count} {state}" for state, count in counts.items())
        click.echo(f"  job {job} ({done.names[job]}): {what}")
