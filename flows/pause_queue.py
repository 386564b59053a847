"""The flows ``pause-queue`` and ``resume-queue``: stop workers from claiming, and let them claim again."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, get_run_logger

from eas.operations import pause
from flows.parameters import RETRIES, RETRY_DELAY, Blocks, described, fail_on_eas_error, open_app


@flow(name="pause-queue", persist_result=False, retries=RETRIES, retry_delay_seconds=RETRY_DELAY)
@fail_on_eas_error
def pause_queue(
    task_types: Annotated[list[str] | None, described("Task types whose queues are paused; default: all.")] = None,
    blocks: Blocks = None,
) -> list[str]:
    """Stop workers from claiming from these queues; running tasks continue.

    Returns the task types that were not paused before.
    """
    with open_app(blocks) as app:
        changed = pause.pause(app.database, task_types)
    get_run_logger().info("paused: %s", ", ".join(changed) or "no further task types")
    return changed


@flow(name="resume-queue", persist_result=False, retries=RETRIES, retry_delay_seconds=RETRY_DELAY)
@fail_on_eas_error
def resume_queue(
    task_types: Annotated[list[str] | None, described("Task types whose queues are resumed; default: all.")] = None,
    blocks: Blocks = None,
) -> list[str]:
    """Let workers claim queued tasks again. Returns the task types that had been paused."""
    with open_app(blocks) as app:
        changed = pause.resume(app.database, app.queue, task_types)
    get_run_logger().info("resumed: %s", ", ".join(changed) or "nothing was paused")
    return changed
