"""Mark a job as *failed* whose orchestrator has failed repeatedly for the same reason."""

from __future__ import annotations

from sqlalchemy import Connection

from eas.maintenance import process_identity
from eas.queues.base import JobQueue
from eas.states import JobState
from eas.taskdb import attempts, job_changes
from eas.taskdb.engine import TaskDatabase


def fail_job(database: TaskDatabase, queue: JobQueue, job_id: int, reason: str, revision: int) -> bool:
    """Mark a job as failed with this reason; return False if the job has changed meanwhile.

    One transaction: the root task becomes *failed* with the reason, so that every report shows it;
    the other open tasks become *blocked*, and their attempts are closed. ``eas reschedule`` puts all
    of them back. Nothing is changed for a job that has ended, that another process drives, or that an
    operator changed since ``revision``. Raises UnknownJobError.
    """
    now = database.now()
    dropped = database.transact(lambda connection: _fail(connection, job_id, reason, revision, now))
    if dropped:
        queue.purge(dropped)
    return dropped is not None


def _fail(connection: Connection, job_id: int, reason: str, revision: int, now: float) -> list[str] | None:
    # The job's row is locked before its attempts, in the order of every other writer: see ``taskdb.job_changes``.
    job = job_changes.lock(connection, job_id)
    driven = job.driver not in (None, process_identity.process_name()) and not process_identity.is_dead_here(job.driver)
    if JobState(job.state).final or job.revision != revision or driven:
        return None
    rows = job_changes.open_attempts(connection, job_id, attempts.UNFINISHED_STATES)
    job_changes.cancel_attempts(connection, rows, now, why=f"the job failed: {reason}")
    job_changes.fail(connection, job_id, reason, now)
    job_changes.increment_revision(connection, job_id)
    return sorted({row.task_type for row in rows})
