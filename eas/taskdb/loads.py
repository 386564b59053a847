"""What scaling reads: what waits in each queue, how fast tasks of a type are, which workers are there."""

from __future__ import annotations

from sqlalchemy import Connection, and_, case, func, select

from eas.states import AttemptState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow

ATTEMPTS, RESULTS, WORKERS = tables.attempts, tables.attempt_results, tables.workers

LOOK_BACK = 20_000
"""Only so many of the newest attempts tell how fast tasks are: a look must not read the whole table."""


def queues(connection: Connection, now: float) -> list[AnyRow]:
    """Return ``(task_type, due, running, oldest, paused)`` of each type with open attempts.

    ``due``: queued, and to be claimed by ``now``; ``oldest``: since when the first of these waits
    [Unix time, s]; ``paused``: whether an operator paused the queue.
    """
    due = and_(ATTEMPTS.c.state == AttemptState.QUEUED, ATTEMPTS.c.available_at <= now)
    settings = tables.queue_settings
    query = (
        select(
            ATTEMPTS.c.task_type,
            func.sum(case((due, 1), else_=0)).label("due"),
            func.sum(case((ATTEMPTS.c.state == AttemptState.RUNNING, 1), else_=0)).label("running"),
            func.min(case((due, ATTEMPTS.c.queued_at))).label("oldest"),
            func.count(settings.c.paused_at).label("paused"),
        )
        .outerjoin(settings, settings.c.task_type == ATTEMPTS.c.task_type)
        .where(ATTEMPTS.c.state.in_([AttemptState.QUEUED, AttemptState.RUNNING]))
        .group_by(ATTEMPTS.c.task_type)
    )
    return list(connection.execute(query).all())


def paces(connection: Connection, since: float) -> list[AnyRow]:
    """Return ``(task_type, ended, mean_wall)`` of the attempts that ended by themselves since a moment.

    ``mean_wall`` in s; ``since`` is a Unix time [s].
    """
    newest = connection.execute(select(func.max(ATTEMPTS.c.id))).scalar() or 0
    query = (
        select(ATTEMPTS.c.task_type, func.count().label("ended"), func.avg(RESULTS.c.wall).label("mean_wall"))
        .join(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .where(ATTEMPTS.c.id > newest - LOOK_BACK, ATTEMPTS.c.ended_at >= since)
        .where(ATTEMPTS.c.state.in_([AttemptState.DONE, AttemptState.FAILED]))
        .group_by(ATTEMPTS.c.task_type)
    )
    return list(connection.execute(query).all())


def alive_workers(connection: Connection, since: float) -> list[AnyRow]:
    """Return ``(id, worker_types, running)`` of the workers that were heard of since a moment [Unix time, s].

    The types as JSON text. Those believed alive will not do: nobody may have looked after them.
    """
    busy = and_(ATTEMPTS.c.worker_id == WORKERS.c.id, ATTEMPTS.c.state == AttemptState.RUNNING)
    query = (
        select(WORKERS.c.id, WORKERS.c.worker_types, func.count(ATTEMPTS.c.id).label("running"))
        .outerjoin(ATTEMPTS, busy)
        .where(WORKERS.c.state == "alive", WORKERS.c.heartbeat_at >= since)
        .group_by(WORKERS.c.id, WORKERS.c.worker_types)
    )
    return list(connection.execute(query).all())
