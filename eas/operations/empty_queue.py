"""Empty the job queue: withdraw all queued attempts until their tasks are rescheduled."""

from __future__ import annotations

from sqlalchemy import Connection

from eas.queues.base import JobQueue
from eas.states import AttemptState
from eas.taskdb import job_changes
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import job_selection


def empty_queue(database: TaskDatabase, queue: JobQueue, *, job_name: str | None = None) -> dict[str, int]:
    """Withdraw all queued attempts from the job queue, or those of the jobs called ``job_name``.

    Their tasks are *waiting* again and stay out of the queue until they are rescheduled
    (``eas.operations.reschedule``). Attempts that a worker has claimed continue; one that is being
    claimed at this moment is either withdrawn or runs. Tasks that become ready later are queued as
    usual.

    Each job is changed in its own transaction; a second call has no effect. Returns the number of withdrawn
    attempts by task type. Raises UnknownJobError.
    """
    if job_name is None:
        wanted = database.fetch(job_selection.jobs_with_queued)
    else:
        wanted = database.fetch(lambda connection: job_selection.named(connection, job_name))
    now = database.now()
    total: dict[str, int] = {}
    for job_id in wanted:
        taken = database.transact(lambda connection, job=job_id: _empty(connection, job, now))  # type: ignore[misc]
        for task_type, count in taken.items():
            total[task_type] = total.get(task_type, 0) + count
    queue.purge(sorted(total))
    return dict(sorted(total.items()))


def _empty(connection: Connection, job_id: int, now: float) -> dict[str, int]:
    job_changes.lock(connection, job_id)
    rows = job_changes.open_attempts(connection, job_id, (AttemptState.QUEUED,))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.task_type] = counts.get(row.task_type, 0) + 1
    if rows:
        job_changes.cancel_attempts(connection, rows, now)
        job_changes.withdraw_tasks(connection, (row.task_id for row in rows), now)
        job_changes.increment_revision(connection, job_id)
    return counts
