"""The flows ``pause-queue`` and ``resume-queue``: whether workers claim what is queued."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, get_run_logger

from eas.control import pause
from flows.parameters import Blocks, described, open_app, told


@flow(name="pause-queue", persist_result=False)
@told
def pause_queue(
    task_types: Annotated[list[str] | None, described("Task types whose queues are paused; default: all.")] = None,
    blocks: Blocks = None,
) -> list[str]:
    """Let workers claim nothing of these queues any more; what runs goes on.

    Returns the task types that were not paused before.
    """
    with open_app(blocks) as app:
        changed = pause.pause(app.database, task_types)
    get_run_logger().info("paused: %s", ", ".join(changed) or "nothing that was not paused already")
    return changed


@flow(name="resume-queue", persist_result=False)
@told
def resume_queue(
    task_types: Annotated[list[str] | None, described("Task types whose queues are resumed; default: all.")] = None,
    blocks: Blocks = None,
) -> list[str]:
    """Let workers claim what is queued again. Returns the task types that had been paused."""
    with open_app(blocks) as app:
        changed = pause.resume(app.database, app.queue, task_types)
    get_run_logger().info("resumed: %s", ", ".join(changed) or "nothing was paused")
    return changed
