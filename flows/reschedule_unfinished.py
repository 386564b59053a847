"""The flow ``reschedule-unfinished``: retries tasks that failed, stalled or were withdrawn from the queue."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.operations.reschedule import reschedule
from flows.parameters import RETRIES, RETRY_DELAY, Blocks, described, fail_on_eas_error, open_app


@flow(name="reschedule-unfinished", persist_result=False, retries=RETRIES, retry_delay_seconds=RETRY_DELAY)
@fail_on_eas_error
def reschedule_unfinished(
    job_name: Annotated[str | None, described("Only jobs of this name.")] = None,
    job_id: Annotated[int | None, described("Only this job; a cancelled one is resumed, too.")] = None,
    blocks: Blocks = None,
) -> Any:
    """Retry tasks that failed, stalled or were withdrawn from the queue, and the tasks that they blocked.

    Queued, running and done tasks are not changed. The jobs continue when a process drives them, such as
    the supervisor (`schedule-waiting-tasks`). Returns the rescheduled tasks, as plain data.
    """
    with open_app(blocks) as app:
        done = reschedule(app.database, app.queue, job_name=job_name or None, job_id=job_id)
    get_run_logger().info(done.message)
    return done.to_json()
