"""Scheduling attempts in the task database: adding them to the queue, and heartbeats.

Workers claim them by ``attempt_claims``; they end by ``results``, ``stalls`` or ``job_changes``.

Every change of an attempt is a guarded update: it names the state, and where it matters the
worker, that it expects, and its row count is checked. So at most one result is accepted for an
attempt, even if several workers believe that they hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    func,
    insert,
    select,
    update,
)

from eas.model import QueuedAttempt
from eas.states import AttemptState, TaskState
from eas.taskdb import tables, workers
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow, reserve_ids

ATTEMPTS = tables.attempts
UNFINISHED_STATES = (AttemptState.QUEUED, AttemptState.RUNNING)


class QueueItem(NamedTuple):
    """A task to queue a new attempt for. No worker claims it before ``available_at`` [Unix s]."""

    task_id: int
    job_id: int
    task_type: str
    number: int
    priority: int
    available_at: float = 0.0


def queue(connection: Connection, items: Sequence[QueueItem], now: float) -> list[QueuedAttempt]:
    """Add a queued attempt for each item and mark the tasks as queued."""
    if not items:
        return []
    first = reserve_ids(connection, "attempts", len(items))
    rows = [
        {
            "id": first + offset,
            "task_id": item.task_id,
            "job_id": item.job_id,
            "number": item.number,
            "task_type": item.task_type,
            "state": AttemptState.QUEUED,
            "priority": item.priority,
            "available_at": item.available_at,
            "queued_at": now,
        }
        for offset, item in enumerate(items)
    ]
    connection.execute(insert(ATTEMPTS), rows)
    set_task_states(connection, (item.task_id for item in items), TaskState.QUEUED)
    return [
        QueuedAttempt(first + offset, item.task_type, item.priority, item.available_at)
        for offset, item in enumerate(items)
    ]


def set_task_states(connection: Connection, task_ids: Iterable[int], state: TaskState, **values: Any) -> None:
    """Move tasks to ``state``, setting other columns to the same ``values`` on all of them."""
    for part in chunks(task_ids):
        connection.execute(update(tables.tasks).where(tables.tasks.c.id.in_(part)).values(state=state, **values))


def record_heartbeat(connection: Connection, worker_id: str, now: float) -> set[int]:
    """Write a heartbeat for a worker and its running attempts; return the attempts that it still holds."""
    workers.record_heartbeat(connection, worker_id, now)
    held = (ATTEMPTS.c.worker_id == worker_id) & (ATTEMPTS.c.state == AttemptState.RUNNING)
    connection.execute(update(ATTEMPTS).where(held).values(heartbeat_at=now))
    return held_by(connection, worker_id)


def held_by(connection: Connection, worker_id: str) -> set[int]:
    """Return the attempts that a worker holds according to the task database."""
    held = (ATTEMPTS.c.worker_id == worker_id) & (ATTEMPTS.c.state == AttemptState.RUNNING)
    return set(connection.execute(select(ATTEMPTS.c.id).where(held)).scalars())


def still_held(connection: Connection, worker_id: str, attempt_ids: Sequence[int]) -> dict[int, AnyRow]:
    """Lock those of the attempts that this worker still holds; return the columns that a retry needs."""
    held: dict[int, AnyRow] = {}
    columns = [ATTEMPTS.c[name] for name in ("id", *QueueItem._fields)]
    for part in chunks(attempt_ids):
        mine = (
            ATTEMPTS.c.id.in_(part) & (ATTEMPTS.c.state == AttemptState.RUNNING) & (ATTEMPTS.c.worker_id == worker_id)
        )
        held.update({row.id: row for row in connection.execute(select(*columns).where(mine).with_for_update())})
    return held


def guarded_update(
    connection: Connection, attempt_ids: Iterable[int], expected: ColumnElement[bool], **values: Any
) -> None:
    """Set columns of attempts that this transaction has locked and that satisfy ``expected``.

    Raises RuntimeError if one of them does not: the lock did not hold, so the transaction must not be committed.
    """
    for part in chunks(attempt_ids):
        guarded = update(ATTEMPTS).where(ATTEMPTS.c.id.in_(part), expected).values(**values)
        if connection.execute(guarded).rowcount != len(part):
            raise RuntimeError("another transaction changed attempts that this one had locked")


def end_running(connection: Connection, attempt_ids: Iterable[int], state: AttemptState, now: float) -> None:
    """Close locked attempts that run, so that their jobs' orchestrators notice. Raises as ``guarded_update``."""
    values = {"state": state, "ended_at": now, "unseen_by": ATTEMPTS.c.job_id}
    guarded_update(connection, attempt_ids, ATTEMPTS.c.state == AttemptState.RUNNING, **values)


def mark_seen(connection: Connection, attempt_ids: Iterable[int]) -> None:
    """Record that the orchestrator has processed these ended attempts."""
    for part in chunks(attempt_ids):
        connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.id.in_(part)).values(unseen_by=None))


def queue_lengths(connection: Connection, due: float | None = None) -> dict[str, int]:
    """Return how many attempts are queued, by task type; with ``due``, only those to be run by then."""
    query = (
        select(ATTEMPTS.c.task_type, func.count())
        .where(ATTEMPTS.c.state == AttemptState.QUEUED)
        .group_by(ATTEMPTS.c.task_type)
    )
    if due is not None:
        query = query.where(ATTEMPTS.c.available_at <= due)
    return {row[0]: row[1] for row in connection.execute(query)}
