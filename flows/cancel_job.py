"""The flow ``cancel-job``: drops a job's queued tasks and stops the running ones."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.operations.cancel import cancel
from eas.taskdb.queries import job_list
from flows.job_runs import cancel_runs
from flows.parameters import RETRIES, RETRY_DELAY, Blocks, described, fail_on_eas_error, open_app

CANCEL_GRACE = 15.0
"""Grace period for a flow run of the job to end by itself [s]."""


@flow(
    name="cancel-job",
    flow_run_name="cancel job {job}",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY,
)
@fail_on_eas_error
def cancel_job(
    job: Annotated[str, described("The job's id, or its name if only one unfinished job has it.")],
    blocks: Blocks = None,
) -> Any:
    """Cancel a job: drop its queued tasks, stop running ones, and end its Prefect flow runs.

    Existing file products are kept. Returns what was cancelled, as plain data.
    """
    with open_app(blocks) as app:
        job_id = app.database.fetch(lambda connection: job_list.find(connection, str(job))).id
        done = cancel(app.database, app.queue, job_id)
    get_run_logger().info(done.message)
    ended = cancel_runs(done.job_id, CANCEL_GRACE)
    get_run_logger().info("Prefect runs of job %d that had to be cancelled: %d", done.job_id, ended)
    return done.to_json() | {"prefect_runs": ended}
