"""Closes stalled attempts: their worker sends no heartbeats, or its process has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, insert, select

from eas.model import QueuedAttempt
from eas.states import AttemptState, TaskState
from eas.taskdb import attempts, retry, tables, workers
from eas.taskdb.engine import AnyRow
from eas.taskdb.results import aborted_result

ATTEMPTS = tables.attempts
GONE = "its process is gone"
SILENT = "its heartbeats stopped"


class Stalled(NamedTuple):
    """Attempts that the reaper closed, and the retries that it queued."""

    attempt_ids: tuple[int, ...]
    requeued: tuple[QueuedAttempt, ...]


def silent(connection: Connection, since: float) -> bool:
    """Return whether a living worker or a running attempt has had no heartbeat since ``since`` [Unix time, s]."""
    found = select(ATTEMPTS.c.id).where(_unheard(since)).limit(1)
    return connection.execute(found).first() is not None or bool(workers.without_heartbeat(connection, since))


def _unheard(since: float) -> ColumnElement[bool]:
    return (ATTEMPTS.c.state == AttemptState.RUNNING) & (ATTEMPTS.c.heartbeat_at < since)


def reap(connection: Connection, since: float, now: float) -> Stalled:
    """Close running attempts without a heartbeat since ``since`` as stalled. Both are Unix times [s]."""
    workers.mark_lost(connection, workers.without_heartbeat(connection, since), SILENT, now)
    return _close_stalled(connection, _unheard(since), SILENT, now)


def reap_workers(connection: Connection, worker_ids: Sequence[str], now: float, why: str = GONE) -> Stalled:
    """Close the running attempts of these workers, whose processes have ended, as stalled with the reason ``why``."""
    workers.mark_lost(connection, worker_ids, why, now)
    held = (ATTEMPTS.c.state == AttemptState.RUNNING) & ATTEMPTS.c.worker_id.in_(worker_ids)
    return _close_stalled(connection, held, why, now)


def _close_stalled(connection: Connection, which: ColumnElement[bool], why: str, now: float) -> Stalled:
    rows = connection.execute(select(ATTEMPTS).where(which).with_for_update(skip_locked=True)).all()
    if not rows:
        return Stalled((), ())
    attempts.end_running(connection, (row.id for row in rows), AttemptState.STALLED, now)
    ends = [aborted_result(row, _why_stalled(row, why, now), now) for row in rows]
    connection.execute(insert(tables.attempt_results), ends)
    workers.mark_lost(connection, sorted({row.worker_id for row in rows}), why, now)
    requeued = retry.queue_retries(connection, rows, TaskState.STALLED, now)
    return Stalled(tuple(row.id for row in rows), tuple(requeued))


def _why_stalled(row: AnyRow, why: str, now: float) -> str:
    last = row.heartbeat_at or row.claimed_at
    return f"stalled: the last heartbeat of worker {row.worker_id} was {now - last:.0f} s ago; {why}"
