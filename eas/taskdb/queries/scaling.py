"""Queries for scaling: queued attempts, durations of tasks, and responsive workers."""

from __future__ import annotations

from sqlalchemy import Connection, Integer, and_, case, cast, func, select

from eas.states import AttemptState, WorkerState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow

ATTEMPTS, RESULTS, WORKERS = tables.attempts, tables.attempt_results, tables.workers

MAX_ATTEMPTS_READ = 20_000
"""Maximum number of newest attempts from which durations are estimated, so that not all attempts are read."""


def queues(connection: Connection, now: float) -> list[AnyRow]:
    """Return the open attempts of each job and task type.

    ``(job_id, task_type, due, running, running_since, oldest, paused)``.

    ``due``: queued, and to be claimed by ``now``; ``running_since``: mean time at which those that run were
    claimed; ``oldest``: since when the first that is due waits [Unix times, s]; ``paused``: whether an operator
    paused the queue.
    """
    due = and_(ATTEMPTS.c.state == AttemptState.QUEUED, ATTEMPTS.c.available_at <= now)
    running = ATTEMPTS.c.state == AttemptState.RUNNING
    settings = tables.queue_settings
    query = (
        select(
            ATTEMPTS.c.job_id,
            ATTEMPTS.c.task_type,
            func.sum(case((due, 1), else_=0)).label("due"),
            func.sum(case((running, 1), else_=0)).label("running"),
            func.avg(case((running, ATTEMPTS.c.claimed_at))).label("running_since"),
            func.min(case((due, ATTEMPTS.c.queued_at))).label("oldest"),
            func.count(settings.c.paused_at).label("paused"),
        )
        .outerjoin(settings, settings.c.task_type == ATTEMPTS.c.task_type)
        .where(ATTEMPTS.c.state.in_([AttemptState.QUEUED, AttemptState.RUNNING]))
        .group_by(ATTEMPTS.c.job_id, ATTEMPTS.c.task_type)
    )
    return list(connection.execute(query).all())


def recent_durations(connection: Connection, now: float, since: float, interval: float) -> list[AnyRow]:
    """Return ``(job_id, task_type, slot, ended, wall)`` of attempts that ended by themselves since a moment.

    ``slot``: their age in intervals of ``interval`` [s]; ``wall``: the sum of their durations [s]; ``now`` and
    ``since`` are Unix times [s].
    """
    newest = connection.execute(select(func.max(ATTEMPTS.c.id))).scalar() or 0
    age = cast((now - ATTEMPTS.c.ended_at) / interval, Integer).label("slot")
    query = (
        select(
            ATTEMPTS.c.job_id,
            ATTEMPTS.c.task_type,
            age,
            func.count().label("ended"),
            func.sum(RESULTS.c.wall).label("wall"),
        )
        .join(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .where(ATTEMPTS.c.id > newest - MAX_ATTEMPTS_READ, ATTEMPTS.c.ended_at >= since)
        .where(ATTEMPTS.c.state.in_([AttemptState.DONE, AttemptState.FAILED]))
        .group_by(ATTEMPTS.c.job_id, ATTEMPTS.c.task_type, age)
    )
    return list(connection.execute(query).all())


def responsive_workers(connection: Connection, since: float) -> list[AnyRow]:
    """Return ``(id, worker_types, running)`` of the workers with a heartbeat since ``since`` [Unix time, s].

    The types are JSON text. The recorded state is not sufficient: it is updated only when a process checks it.
    """
    busy = and_(ATTEMPTS.c.worker_id == WORKERS.c.id, ATTEMPTS.c.state == AttemptState.RUNNING)
    query = (
        select(WORKERS.c.id, WORKERS.c.worker_types, func.count(ATTEMPTS.c.id).label("running"))
        .outerjoin(ATTEMPTS, busy)
        .where(WORKERS.c.state == WorkerState.ALIVE, WORKERS.c.heartbeat_at >= since)
        .group_by(WORKERS.c.id, WORKERS.c.worker_types)
    )
    return list(connection.execute(query).all())
