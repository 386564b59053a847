"""``eas cancel`` and ``eas reschedule``."""

from __future__ import annotations

import click

from eas.app import App
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from eas.operations import cancel as cancelling
from eas.operations import reschedule as rescheduling
from eas.taskdb.queries import job_list


@click.command()
@click.argument("job", metavar="JOB")
@json_option
def cancel(job: str, as_json: bool) -> None:
    """Cancel a job: drop queued attempts, stop running ones, keep the file products made so far.

    JOB is a job's id, or its name if only one unfinished job has it. Workers stop running tasks at their
    next heartbeat at the latest. To run the remaining tasks later: eas reschedule --job-id JOB.
    """
    with App.load() as app:
        job_id = app.database.fetch(lambda connection: job_list.find(connection, job)).id
        done = cancelling.cancel(app.database, app.queue, job_id)
    if as_json:
        print_json(done.to_json())
    else:
        echo(done.message)


@click.command()
@click.option("--job-name", metavar="NAME", help="Only jobs of this name.")
@click.option("--job-id", type=int, metavar="ID", help="Only this job, even if it was cancelled.")
@json_option
def reschedule(job_name: str | None, job_id: int | None, as_json: bool) -> None:
    """Retry tasks that failed, stalled or were withdrawn from the queue, and the tasks that they blocked.

    Queued, running and done tasks are not changed, nor are cancelled jobs unless you name one. The
    jobs continue when a supervisor (`eas schedule`) or `eas run --resume JOB` drives them.
    """
    with App.load() as app:
        done = rescheduling.reschedule(app.database, app.queue, job_name=job_name, job_id=job_id)
    if as_json:
        print_json(done.to_json())
        return
    echo(done.message)
    for job, counts in done.jobs.items():
        what = ", ".join(f"{count} {state}" for state, count in counts.items())
        echo(f"  job {job} ({done.names[job]}): {what}")
