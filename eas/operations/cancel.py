"""Cancel a job: drop its queued attempts, stop the running ones, keep its file products."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from eas.errors import RequestError
from eas.queues.base import JobQueue
from eas.states import AttemptState, JobState
from eas.taskdb import attempts, job_changes
from eas.taskdb.engine import TaskDatabase


@dataclass(frozen=True)
class Cancelled:
    """The outcome of cancelling a job.

    Attributes
    ----------
    dropped:
        Attempts that were queued and will not run.
    stopped:
        Attempts that were running; their workers stop them at their next heartbeat at the latest.
    tasks:
        Leaf tasks that are cancelled by this, those of these attempts among them.
    """

    job_id: int
    job_name: str
    dropped: int = 0
    stopped: int = 0
    tasks: int = 0

    @property
    def message(self) -> str:
        """One line: ``job 3 (sweep) is cancelled: 4 queued attempts dropped, 2 running ones stopped, ...``."""
        return (
            f"job {self.job_id} ({self.job_name}) is cancelled: {self.dropped} queued attempts dropped, "
            f"{self.stopped} running ones stopped, {self.tasks} tasks cancelled"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def cancel(database: TaskDatabase, queue: JobQueue, job_id: int) -> Cancelled:
    """Cancel a job, regardless of whether a process drives it.

    In one transaction, the job and its unfinished tasks become *cancelled*; later results of these tasks are
    rejected, and no retries are queued. Workers stop running attempts (SIGTERM, then SIGKILL) at their next
    heartbeat at the latest; an orchestrator that drives the job stops at its next step. File products are kept.

    Cancelling a cancelled job has no effect. Raises UnknownJobError, and RequestError for a job that is done or
    failed.
    """
    now = database.now()
    outcome, dropped = database.transact(lambda connection: _cancel(connection, job_id, now))
    if dropped:
        queue.purge(dropped)
    return outcome


def _cancel(connection: Connection, job_id: int, now: float) -> tuple[Cancelled, list[str]]:
    job = job_changes.lock(connection, job_id)
    if job.state == JobState.CANCELLED:
        return Cancelled(job_id, job.name), []
    # Once its root task has ended, its orchestrator is about to record that the job has ended, too.
    ended = job.state if JobState(job.state).final else job_changes.final_root_state(connection, job_id)
    if ended is not None:
        raise RequestError(f"job {job_id} ({job.name}) has already ended: {ended}", hint="there is nothing to cancel")
    rows = job_changes.open_attempts(connection, job_id, attempts.UNFINISHED_STATES)
    job_changes.cancel_attempts(connection, rows, now)
    count = job_changes.cancel_tasks(connection, job_id, now)
    job_changes.increment_revision(connection, job_id)
    queued = [row for row in rows if row.state == AttemptState.QUEUED]
    outcome = Cancelled(job_id, job.name, len(queued), len(rows) - len(queued), count)
    return outcome, sorted({row.task_type for row in queued})
