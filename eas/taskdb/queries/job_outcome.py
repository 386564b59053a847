"""The outcome of a job: unsuccessful tasks with their reasons and logs."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from eas.model import LogEntry
from eas.states import TaskState
from eas.taskdb import conditions, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow

ATTEMPTS, TASKS = tables.attempts, tables.tasks


def unsuccessful(connection: Connection, job_id: int, limit: int = 1000) -> list[AnyRow]:
    """Return the tasks of a job that failed, stalled, or are blocked or cancelled.

    A control task is included only if it has its own reason, not if its state follows from its children.
    """
    states = [TaskState.FAILED, TaskState.STALLED, TaskState.BLOCKED, TaskState.CANCELLED]
    by_itself = conditions.leaf() | TASKS.c.reason.is_not(None)
    query = select(TASKS).where(TASKS.c.job_id == job_id, TASKS.c.state.in_(states), by_itself)
    return list(connection.execute(query.order_by(TASKS.c.id).limit(limit)).all())


def last_failures(connection: Connection, task_ids: Iterable[int]) -> dict[int, str]:
    """Return the reason of the last ended attempt of each task that has one."""
    result = tables.attempt_results
    found: dict[int, str] = {}
    for part in chunks(task_ids):
        query = (
            select(ATTEMPTS.c.task_id, result.c.reason)
            .join(result, result.c.attempt_id == ATTEMPTS.c.id)
            .where(ATTEMPTS.c.task_id.in_(part))
            .order_by(ATTEMPTS.c.number)
        )
        found.update({row.task_id: row.reason for row in connection.execute(query)})
    return found


def last_logs(connection: Connection, task_ids: Iterable[int]) -> dict[int, list[LogEntry]]:
    """Return the log of the newest attempt of each task, in order."""
    entry, newer = tables.log_entries, ATTEMPTS.alias("newer")
    newest = select(func.max(newer.c.number)).where(newer.c.task_id == ATTEMPTS.c.task_id).scalar_subquery()
    found: dict[int, list[LogEntry]] = {}
    for part in chunks(task_ids):
        query = (
            select(ATTEMPTS.c.task_id, entry)
            .join(entry, entry.c.attempt_id == ATTEMPTS.c.id)
            .where(ATTEMPTS.c.task_id.in_(part), ATTEMPTS.c.number == newest)
            .order_by(entry.c.id)
        )
        for row in connection.execute(query):
            log = found.setdefault(row.task_id, [])
            log.append(LogEntry(row.logged_at, row.level, row.logger, row.message, row.traceback))
    return found
