"""Warnings about missing services: jobs without a driver, and queued tasks without a worker."""

from __future__ import annotations

import json
from collections import Counter
from typing import NamedTuple

from sqlalchemy import Connection, select

from eas.registry import BASE_WORKER_TYPE
from eas.states import AttemptState, WorkerState
from eas.taskdb import tables
from eas.taskdb.queries import undriven
from eas.taskdb.service_lease import SCALER, is_alive

ATTEMPTS, WORKERS, TYPES = tables.attempts, tables.workers, tables.task_types

MIN_WAIT = 30.0
"""Time [s] that a task must wait before a missing worker is reported, because workers take time to start."""
MAX_NAMES = 5


class UnservedQueue(NamedTuple):
    """A task type with tasks that are due, and no living worker that runs it; ``waits``: the longest wait [s]."""

    task_type: str
    worker_type: str
    waits: float


def warnings(connection: Connection, now: float, lease: float) -> list[str]:
    """Return warnings about missing services, each as one line with a hint.

    ``now``: database time [s]; ``lease``: a worker without a heartbeat for this time is not alive [s].
    """
    found = [undriven.warning(connection, now), unserved_warning(connection, now, lease)]
    return [each for each in found if each]


def unserved_queues(connection: Connection, now: float, lease: float) -> list[UnservedQueue]:
    """Return the queues that have neither a living worker nor a scaler that would start one.

    Reads one index entry per task type, however long the queue is. Paused queues are left out.
    """
    if is_alive(connection, SCALER, now):
        return []
    settings = tables.queue_settings
    oldest = (
        select(ATTEMPTS.c.queued_at)
        .where(ATTEMPTS.c.state == AttemptState.QUEUED, ATTEMPTS.c.task_type == TYPES.c.name)
        .where(ATTEMPTS.c.available_at <= now - MIN_WAIT)
        .order_by(ATTEMPTS.c.priority, ATTEMPTS.c.id)
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(TYPES.c.name, TYPES.c.worker_type, oldest.label("oldest"))
        .outerjoin(settings, settings.c.task_type == TYPES.c.name)
        .where(TYPES.c.worker_type.is_not(None), settings.c.paused_at.is_(None))
        .order_by(TYPES.c.name)
    )
    waiting = [row for row in connection.execute(query) if row.oldest is not None and row.oldest <= now - MIN_WAIT]
    if not waiting:
        return []
    served = living_workers(connection, now, lease)
    return [
        UnservedQueue(row.name, row.worker_type, now - row.oldest) for row in waiting if row.worker_type not in served
    ]


def living_workers(connection: Connection, now: float, lease: float) -> dict[str, int]:
    """Return how many workers with a heartbeat within ``lease`` seconds run each worker type; all run the base type."""
    alive = select(WORKERS.c.worker_types).where(
        WORKERS.c.state == WorkerState.ALIVE, WORKERS.c.heartbeat_at >= now - lease
    )
    kinds = (kind for text in connection.execute(alive).scalars() for kind in {*json.loads(text), BASE_WORKER_TYPE})
    return dict(Counter(kinds))


def unserved_warning(connection: Connection, now: float, lease: float) -> str:
    """Return a warning about queues that no process serves, with what to do; empty where there are none."""
    found = unserved_queues(connection, now, lease)
    if not found:
        return ""
    names = ", ".join(each.task_type for each in found[:MAX_NAMES])
    more = f" and {len(found) - MAX_NAMES} more types" if len(found) > MAX_NAMES else ""
    kinds = sorted({each.worker_type for each in found})
    return (
        f"tasks wait on the queue (the first for {max(each.waits for each in found):.0f} s), but no worker is alive "
        f"that runs them, and no scaler that would start one: {names}{more}. Start a worker "
        f"(`eas worker --type {kinds[0]}`), or the scaler (the deployment `scale-workers/eas`)"
    )
