"""Queries of reports about the current state: task trees, queues, workers and running attempts.

As in ``reports``: functions of a snapshot's connection that lock nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, case, func, or_, select

from eas.states import FINAL_JOB_STATES, AttemptState
from eas.taskdb import conditions, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow, AnySelect
from eas.taskdb.queries.reports import (
    ATTEMPTS,
    CONTROL,
    JOBS,
    RESULTS,
    TASKS,
    UNFINISHED,
    WORKERS,
    Filters,
    plain_stream,
    stream,
)


def task_labels(connection: Connection, task_ids: Sequence[int]) -> list[AnyRow]:
    """Return ``(id, task_type, name, state, metadata, reason)`` of tasks."""
    columns = (TASKS.c.id, TASKS.c.task_type, TASKS.c.name, TASKS.c.state, TASKS.c.metadata, TASKS.c.reason)
    query = select(*columns)
    return [row for part in chunks(task_ids) for row in connection.execute(query.where(TASKS.c.id.in_(part)))]


def matching_tasks(connection: Connection, filters: Filters) -> list[int]:
    """Return the ids of the tasks within ``filters``, ascending."""
    query = select(TASKS.c.id).where(*filters.tasks()).order_by(TASKS.c.id)
    return [row[0] for part in stream(connection, query) for row in part]


def queues(connection: Connection, filters: Filters, now: float) -> list[AnyRow]:
    """Return ``(task_type, worker_type, queued, due, held_back, running, oldest, paused_at)`` of each queue.

    ``due``: queued attempts that may be claimed at ``now``; ``held_back``: tasks that no worker may claim
    yet, because their retry is not due or an operator withdrew them; ``oldest``: when the attempt that has
    waited longest was queued [Unix s].
    """
    counts, taken = _open_attempts(filters, now).subquery(), _taken_off(filters).subquery()
    kind, paused = tables.task_types, tables.queue_settings
    queued, due, off = (func.coalesce(each, 0) for each in (counts.c.queued, counts.c.due, taken.c.total))
    query = (
        select(
            kind.c.name.label("task_type"),
            kind.c.worker_type,
            queued.label("queued"),
            due.label("due"),
            (queued - due + off).label("held_back"),
            func.coalesce(counts.c.running, 0).label("running"),
            counts.c.oldest,
            paused.c.paused_at,
        )
        .outerjoin(counts, counts.c.task_type == kind.c.name)
        .outerjoin(taken, taken.c.task_type == kind.c.name)
        .outerjoin(paused, paused.c.task_type == kind.c.name)
        .where(kind.c.name.not_in(CONTROL))
    )
    if filters.task_type is not None:
        query = query.where(kind.c.name == filters.task_type)
    return list(connection.execute(query.order_by(kind.c.name)).all())


def _open_attempts(filters: Filters, now: float) -> AnySelect:
    """Select, of each task type that has any, how many attempts are queued, due and running, and the oldest."""
    queued, running = (ATTEMPTS.c.state == state for state in UNFINISHED)
    count = select(
        ATTEMPTS.c.task_type,
        func.sum(case((queued, 1), else_=0)).label("queued"),
        func.sum(case((queued & (ATTEMPTS.c.available_at <= now), 1), else_=0)).label("due"),
        func.sum(case((running, 1), else_=0)).label("running"),
        func.min(case((queued, ATTEMPTS.c.queued_at))).label("oldest"),
    ).where(ATTEMPTS.c.state.in_(UNFINISHED))
    if filters.tasks():
        count = count.join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id).where(*filters.tasks())
    return count.group_by(ATTEMPTS.c.task_type)


def _taken_off(filters: Filters) -> AnySelect:
    """Select the number of withdrawn tasks of each type."""
    # Only unfinished jobs have withdrawn tasks, so finished ones need not be read.
    job = select(JOBS.c.id).where(JOBS.c.state.not_in(FINAL_JOB_STATES))
    held = conditions.withdrawn()
    query = select(TASKS.c.task_type, func.count().label("total"))
    return query.where(TASKS.c.job_id.in_(job), held, *filters.tasks()).group_by(TASKS.c.task_type)


def workers(connection: Connection, filters: Filters) -> list[AnyRow]:
    """Return all workers, newest first, with numbers of ended attempts; ``since``: last heartbeat after it."""
    hosts = tables.hosts
    states = select(
        ATTEMPTS.c.worker_id,
        func.sum(case((ATTEMPTS.c.state == AttemptState.DONE, 1), else_=0)).label("done"),
        func.sum(case((ATTEMPTS.c.state == AttemptState.FAILED, 1), else_=0)).label("failed"),
        func.sum(case((ATTEMPTS.c.state == AttemptState.STALLED, 1), else_=0)).label("stalled"),
    ).where(ATTEMPTS.c.worker_id.is_not(None))
    ended = states.group_by(ATTEMPTS.c.worker_id).subquery()
    what = (WORKERS.c.id, hosts.c.name.label("host"), WORKERS.c.pid, WORKERS.c.worker_types, WORKERS.c.cpus)
    when = (WORKERS.c.state, WORKERS.c.started_at, WORKERS.c.heartbeat_at, WORKERS.c.ended_at, WORKERS.c.reason)
    counts = tuple(func.coalesce(ended.c[name], 0).label(name) for name in ("done", "failed", "stalled"))
    query = (
        select(*what, *when, *counts)
        .join(hosts, hosts.c.id == WORKERS.c.host_id)
        .outerjoin(ended, ended.c.worker_id == WORKERS.c.id)
        .where(*filters.after(WORKERS.c.heartbeat_at))
    )
    return list(connection.execute(query.order_by(WORKERS.c.started_at.desc(), WORKERS.c.id)).all())


def running_attempts(connection: Connection) -> list[AnyRow]:
    """Return ``(worker_id, task_type, task_id, claimed_at)`` of what runs now, in the order of claiming."""
    columns = (ATTEMPTS.c.worker_id, ATTEMPTS.c.task_type, ATTEMPTS.c.task_id, ATTEMPTS.c.claimed_at)
    query = select(*columns).where(ATTEMPTS.c.state == AttemptState.RUNNING)
    return list(connection.execute(query.order_by(ATTEMPTS.c.claimed_at, ATTEMPTS.c.id)).all())


def worker_activity(connection: Connection, filters: Filters) -> Iterator[Sequence[Sequence[Any]]]:
    """Yield ``(worker_id, job_id, job_name, task_type, task_id, attempt_id, state, start, end)`` of all that workers
    ran or run, by attempt; ``since``: not ended before it; ``end`` is None for what runs.
    """
    start = func.coalesce(RESULTS.c.started_at, ATTEMPTS.c.claimed_at)
    end = func.coalesce(RESULTS.c.ended_at, ATTEMPTS.c.ended_at)
    what = (TASKS.c.job_name, ATTEMPTS.c.task_type, ATTEMPTS.c.task_id, ATTEMPTS.c.id, ATTEMPTS.c.state, start, end)
    query = (
        select(ATTEMPTS.c.worker_id, ATTEMPTS.c.job_id, *what)
        .join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id)
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .where(ATTEMPTS.c.worker_id.is_not(None), start.is_not(None), *filters.tasks())
    )
    if filters.since is not None:
        query = query.where(or_(ATTEMPTS.c.ended_at.is_(None), ATTEMPTS.c.ended_at >= filters.since))
    yield from plain_stream(connection, query.order_by(ATTEMPTS.c.id))


def root_jobs(connection: Connection, task_ids: Sequence[int]) -> dict[int, tuple[int, str, str]]:
    """Return ``(job id, job name, job state)`` of root tasks, by task id."""
    query = select(TASKS.c.id, JOBS.c.id, JOBS.c.name, JOBS.c.state).join(JOBS, JOBS.c.id == TASKS.c.job_id)
    rows = (row for part in chunks(task_ids) for row in connection.execute(query.where(TASKS.c.id.in_(part))))
    return {row[0]: (row[1], row[2], row[3]) for row in rows}
