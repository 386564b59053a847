"""Retries in SQL: the next attempt of a task whose attempt has failed or stalled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select, update

from eas.model import QueuedAttempt
from eas.states import TaskState
from eas.taskdb import attempts, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow

LONGEST_BACKOFF = 600.0
"""Longest wait before the next attempt [s], unless the first one is longer."""


def retry_or_give_up(
    connection: Connection, ended: Sequence[AnyRow], given_up: TaskState, now: float
) -> list[QueuedAttempt]:
    """Queue another attempt for tasks that have tries left, and close the others as ``given_up``.

    A failed attempt (``given_up`` is FAILED) uses up a retry and waits before it is tried again;
    a stalled one uses up a stall and is tried again at once.
    """
    if not ended:
        return []
    task, job = tables.tasks, tables.jobs
    stalled = given_up is TaskState.STALLED
    left = task.c.stalls_left if stalled else task.c.retries_left
    _hold_jobs(connection, {row.job_id for row in ended})
    found: dict[int, AnyRow] = {}
    for part in chunks(row.task_id for row in ended):
        query = select(task.c.id, left.label("left"), job.c.retries, job.c.backoff, job.c.cancel_requested_at)
        query = query.join(job, job.c.id == task.c.job_id).where(task.c.id.in_(part))
        found.update({row.id: row for row in connection.execute(query)})
    again = [row for row in ended if found[row.task_id].left > 0 and found[row.task_id].cancel_requested_at is None]
    over = {row.task_id for row in ended} - {row.task_id for row in again}
    attempts.set_task_states(connection, over, given_up, ended_at=now)
    for part in chunks(row.task_id for row in again):
        connection.execute(update(task).where(task.c.id.in_(part)).values({left: left - 1}))
    items = [
        attempts.QueueItem(
            row.task_id,
            row.job_id,
            row.task_type,
            row.number + 1,
            row.priority,
            now if stalled else now + delay(found[row.task_id]),
        )
        for row in again
    ]
    return attempts.queue(connection, items, now)


def _hold_jobs(connection: Connection, job_ids: Iterable[int]) -> None:
    """Hold jobs until the commit: one that is cancelled meanwhile must not get new attempts."""
    for part in chunks(sorted(job_ids)):
        query = select(tables.jobs.c.id).where(tables.jobs.c.id.in_(part)).order_by(tables.jobs.c.id)
        connection.execute(query.with_for_update(read=True)).all()


def delay(task: AnyRow) -> float:
    """Return how long to wait before the next attempt [s]: doubled each time, at most ``LONGEST_BACKOFF``."""
    used = task.retries - task.left
    return float(min(task.backoff * 2**used, max(task.backoff, LONGEST_BACKOFF)))
