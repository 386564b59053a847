"""The flow ``reschedule-unfinished``: another try for what failed, stalled or was taken off the queue."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.control.reschedule import reschedule
from flows.parameters import Blocks, described, open_app, told


@flow(name="reschedule-unfinished", persist_result=False)
@told
def reschedule_unfinished(
    job_name: Annotated[str | None, described("Only jobs of this name.")] = None,
    job_id: Annotated[int | None, described("Only this job; a cancelled one comes back to life, too.")] = None,
    blocks: Blocks = None,
) -> Any:
    """Let tasks that failed, stalled or were taken off the queue wait again, and what they blocked.

    Leaves alone what is queued, running or done. The jobs run when somebody drives them: the
    supervisor (`schedule-waiting-tasks`) does. Returns what was put back, as plain data.
    """
    with open_app(blocks) as app:
        done = reschedule(app.database, app.queue, job_name=job_name or None, job_id=job_id)
    get_run_logger().info(done.message)
    return done.to_json()
