"""Scheduling attempts that have ended, the newest first: timings by page, a summary of the last ones, a timeline."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from eas.states import AttemptState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import keyset
from eas.taskdb.queries.keyset import Page

ATTEMPTS, RESULTS, TASKS, WORKERS = tables.attempts, tables.attempt_results, tables.tasks, tables.workers

ENDED = [state for state in AttemptState if state.final]

MAX_SUMMARISED_ATTEMPTS = 10_000
"""Maximum number of attempts in the summary of timings."""


def page(connection: Connection, *, job_id: int | None = None, after: str | None = None, limit: int = 50) -> Page:
    """Return attempts that have ended, with their usage and task, the newest first.

    Rows: ``(id, task_id, job_id, number, task_type, state, queued_at, started_at, ended_at, wall, cpu,
    cpu_children, peak_memory, qc_passed, worker_id, host, name, metadata)``.
    """
    ids = _newest(connection, job_id, keyset.cursor(after), limit + 1)
    rows = details(connection, ids[:limit])
    return Page(rows, str(ids[limit - 1]) if len(ids) > limit else None)


def details(connection: Connection, ids: list[int]) -> list[AnyRow]:
    """Return the rows that ``page`` describes, in the order of ``ids``."""
    used = (RESULTS.c.wall, RESULTS.c.cpu, RESULTS.c.cpu_children, RESULTS.c.peak_memory, RESULTS.c.qc_passed)
    query = (
        select(ATTEMPTS.c.id, ATTEMPTS.c.task_id, ATTEMPTS.c.job_id, ATTEMPTS.c.number, ATTEMPTS.c.task_type,
               ATTEMPTS.c.state, ATTEMPTS.c.queued_at, ATTEMPTS.c.worker_id,
               func.coalesce(RESULTS.c.started_at, ATTEMPTS.c.claimed_at).label("started_at"),
               func.coalesce(RESULTS.c.ended_at, ATTEMPTS.c.ended_at).label("ended_at"),
               *used, tables.hosts.c.name.label("host"), TASKS.c.name, TASKS.c.metadata)
        .join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id)
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .outerjoin(WORKERS, WORKERS.c.id == ATTEMPTS.c.worker_id)
        .outerjoin(tables.hosts, tables.hosts.c.id == WORKERS.c.host_id)
    )  # fmt: skip
    found = {row.id: row for part in chunks(ids) for row in connection.execute(query.where(ATTEMPTS.c.id.in_(part)))}
    return [found[each] for each in ids if each in found]


def summary(connection: Connection, job_id: int | None = None) -> list[AnyRow]:
    """Return number and usage of the last ``MAX_SUMMARISED_ATTEMPTS`` ended attempts, by task type and state.

    Rows: ``(task_type, state, attempts, wall_mean, wall_max, cpu_mean, memory_max)`` [s, MB].
    """
    ids = _newest(connection, job_id, None, MAX_SUMMARISED_ATTEMPTS)
    if not ids:
        return []
    query = (
        select(
            ATTEMPTS.c.task_type,
            ATTEMPTS.c.state,
            func.count().label("attempts"),
            func.avg(RESULTS.c.wall).label("wall_mean"),
            func.max(RESULTS.c.wall).label("wall_max"),
            func.avg(RESULTS.c.cpu_children).label("cpu_mean"),
            func.max(RESULTS.c.peak_memory).label("memory_max"),
        )
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .where(ATTEMPTS.c.id.between(ids[-1], ids[0]), ATTEMPTS.c.state.in_(ENDED))
        .group_by(ATTEMPTS.c.task_type, ATTEMPTS.c.state)
    )
    if job_id is not None:
        query = query.where(ATTEMPTS.c.job_id == job_id)
    return list(connection.execute(query.order_by(ATTEMPTS.c.task_type, ATTEMPTS.c.state)).all())


def timeline(connection: Connection, job_id: int, limit: int = 500) -> list[AnyRow]:
    """Return the newest attempts of a job that a worker claimed, running ones among them, as ``page`` does."""
    of_job = ATTEMPTS.c.job_id == job_id
    ranges = [(of_job, ATTEMPTS.c.state == state) for state in AttemptState if state is not AttemptState.QUEUED]
    ids = keyset.first_ids(connection, ATTEMPTS.c.id, ranges, after=None, limit=limit, descending=True)
    return [row for row in details(connection, ids) if row.started_at is not None]


def _newest(connection: Connection, job_id: int | None, after: int | None, limit: int) -> list[int]:
    if job_id is not None:
        ranges: list[keyset.Conditions] = [(ATTEMPTS.c.job_id == job_id, ATTEMPTS.c.state == each) for each in ENDED]
        return keyset.first_ids(connection, ATTEMPTS.c.id, ranges, after=after, limit=limit, descending=True)
    query = select(ATTEMPTS.c.id).where(ATTEMPTS.c.state.not_in([AttemptState.QUEUED, AttemptState.RUNNING]))
    # Always with a bound, so that engines read the index from its end, not the whole table.
    query = query.where(ATTEMPTS.c.id > 0 if after is None else ATTEMPTS.c.id < after)
    return list(connection.execute(query.order_by(ATTEMPTS.c.id.desc()).limit(limit)).scalars())
