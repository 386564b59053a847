"""Times of attempts: the running attempts of a job, and the latest attempts of tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, select

from eas.states import AttemptState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks

ATTEMPTS, RESULTS = tables.attempts, tables.attempt_results


class AttemptTimes(NamedTuple):
    """A scheduling attempt and its times [Unix s].

    ``started_at`` is None before a worker has claimed it. While it runs, this is the time of the claim; once
    it has ended, the times are those of the task's code. ``reason`` is empty unless it ended without success.
    """

    task_id: int
    number: int
    state: AttemptState
    queued_at: float
    started_at: float | None
    ended_at: float | None
    reason: str


def running(connection: Connection, job_id: int, limit: int) -> list[AttemptTimes]:
    """Return the attempts of a job that workers hold now, at most ``limit``."""
    query = (
        select(ATTEMPTS.c.task_id, ATTEMPTS.c.number, ATTEMPTS.c.queued_at, ATTEMPTS.c.claimed_at)
        .where(ATTEMPTS.c.job_id == job_id, ATTEMPTS.c.state == AttemptState.RUNNING)
        .limit(limit)
    )
    return [
        AttemptTimes(row.task_id, row.number, AttemptState.RUNNING, row.queued_at, row.claimed_at, None, "")
        for row in connection.execute(query)
    ]


def latest(connection: Connection, task_ids: Iterable[int]) -> dict[int, list[AttemptTimes]]:
    """Return the last two attempts of each task that has any, in order."""
    columns = (ATTEMPTS.c.task_id, ATTEMPTS.c.number, ATTEMPTS.c.state, ATTEMPTS.c.queued_at, ATTEMPTS.c.claimed_at)
    query = (
        select(*columns, RESULTS.c.started_at, RESULTS.c.ended_at, RESULTS.c.reason)
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .order_by(ATTEMPTS.c.task_id, ATTEMPTS.c.number)
    )
    found: dict[int, list[AttemptTimes]] = {}
    for part in chunks(task_ids):
        for row in connection.execute(query.where(ATTEMPTS.c.task_id.in_(part))):
            started = row.claimed_at if row.started_at is None else row.started_at
            attempt = AttemptTimes(
                row.task_id,
                row.number,
                AttemptState(row.state),
                row.queued_at,
                started,
                row.ended_at,
                row.reason or "",
            )
            of_task = found.setdefault(row.task_id, [])
            of_task.append(attempt)
            del of_task[:-2]
    return found
