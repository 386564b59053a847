"""The flow ``reschedule-unfinished``: runs tasks again that failed, stalled or were withdrawn from the queue."""

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
    """Let tasks that failed, stalled or were withdrawn from the queue wait again, and the tasks that they blocked.

    Leaves alone what is queued, running or done. The jobs run when a process drives them: the
    supervisor (`schedule-waiting-tasks`) does. Returns what was put back, as plain data.
    """
    with open_app(blocks) as app:
        done = reschedule(app.database, app.queue, job_name=job_name or None, job_id=job_id)
    get_run_logger().info(done.message)
    return done.to_json()
