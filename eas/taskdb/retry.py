"""Retries: queues the next attempt of a task whose attempt has failed or stalled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select, update

from eas.model import QueuedAttempt
from eas.states import TaskState
from eas.taskdb import attempts, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow

MAX_BACKOFF = 600.0
"""Maximum wait before a retry [s], unless the job's initial backoff is longer."""


def queue_retries(
    connection: Connection, ended: Sequence[AnyRow], given_up: TaskState, now: float
) -> list[QueuedAttempt]:
    """Queue another attempt of tasks that have retries left, and move the others to the state ``given_up``.

    A failed attempt (``given_up`` is FAILED) uses one of ``retries_left``, and its retry waits for the backoff; a
    stalled attempt uses one of ``stalls_left``, and its retry is due immediately.
    """
    if not ended:
        return []
    task, job = tables.tasks, tables.jobs
    stalled = given_up is TaskState.STALLED
    left = task.c.stalls_left if stalled else task.c.retries_left
    _lock_jobs(connection, {row.job_id for row in ended})
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


def _lock_jobs(connection: Connection, job_ids: Iterable[int]) -> None:
    """Lock jobs (shared) until the commit, so that a job cancelled meanwhile gets no new attempts."""
    for part in chunks(sorted(job_ids)):
        query = select(tables.jobs.c.id).where(tables.jobs.c.id.in_(part)).order_by(tables.jobs.c.id)
        connection.execute(query.with_for_update(read=True)).all()


def delay(task: AnyRow) -> float:
    """Return how long to wait before the next attempt [s]: doubled each time, at most ``MAX_BACKOFF``."""
    used = task.retries - task.left
    return float(min(task.backoff * 2**used, max(task.backoff, MAX_BACKOFF)))
