"""The progress query: tasks counted by job, type and state, and when the first of each type started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from sqlalchemy import CompoundSelect, Connection, bindparam, func, or_, select, union_all

from eas.states import OPEN_JOB_STATES, TaskState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries.reports import Filters

TASKS, ATTEMPTS, JOBS = tables.tasks, tables.attempts, tables.jobs

Counts = Mapping[tuple[str | None, str], int]
"""Number of tasks of a job by type and state."""

FIRST_TASKS_EXAMINED = 50
"""Number of first tasks of each state that are examined for the earliest claim."""


def counts(connection: Connection, job_ids: Iterable[int]) -> dict[int, dict[tuple[str | None, str], int]]:
    """Return how many tasks each job has by type and state, control tasks included; read from an index alone.

    Its cost grows with the job (0.1 s for 10^6 tasks), unlike that of all other queries of a page: cache the result.
    """
    found: dict[int, dict[tuple[str | None, str], int]] = {job_id: {} for job_id in job_ids}
    columns = (TASKS.c.job_id, TASKS.c.task_type, TASKS.c.state)
    for part in chunks(found):
        query = select(*columns, func.count().label("total")).where(TASKS.c.job_id.in_(part)).group_by(*columns)
        for row in connection.execute(query):
            found[row.job_id][row.task_type, row.state] = row.total
    return found


def task_counts(connection: Connection, filters: Filters) -> list[AnyRow]:
    """Return how many tasks there are: ``(job_id, job_name, task_type, state, total)``.

    ``since``: of jobs that had not ended before it.
    """
    # Grouped by index alone; the few jobs' names are joined to the few groups.
    groups = select(TASKS.c.job_id, TASKS.c.task_type, TASKS.c.state, func.count().label("total"))
    counted = groups.where(*filters.tasks()).group_by(TASKS.c.job_id, TASKS.c.task_type, TASKS.c.state).subquery()
    query = select(counted.c.job_id, JOBS.c.name, counted.c.task_type, counted.c.state, counted.c.total).join(
        JOBS, JOBS.c.id == counted.c.job_id
    )
    if filters.since is not None:
        query = query.where(or_(JOBS.c.ended_at.is_(None), JOBS.c.ended_at >= filters.since))
    return list(connection.execute(query.order_by(counted.c.job_id, counted.c.task_type)).all())


def first_starts(connection: Connection, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], float]:
    """Return when attempts of task types of jobs that are not over were first claimed [Unix s].

    Attempts are claimed in the order of their tasks, or nearly: the first ``FIRST_TASKS_EXAMINED`` tasks in each
    state are looked at, however many there are.
    """
    open_jobs = select(JOBS.c.id).where(JOBS.c.state.in_(OPEN_JOB_STATES))
    known = set(connection.execute(open_jobs).scalars())
    claimed = select(func.min(ATTEMPTS.c.claimed_at))
    found = {}
    for job_id, task_type in wanted:
        if job_id in known:
            ids = list(connection.execute(_first_tasks(), {"job": job_id, "kind": task_type}).scalars())
            found[job_id, task_type] = connection.execute(claimed.where(ATTEMPTS.c.task_id.in_(ids))).scalar_one()
    return {key: first for key, first in found.items() if first is not None}


@cache
def _first_tasks() -> CompoundSelect[tuple[int]]:
    """Return the query for the first tasks of a job and type in each state: a few entries of an index."""
    of_type = (TASKS.c.job_id == bindparam("job"), TASKS.c.task_type == bindparam("kind"))
    every = select(TASKS.c.id).where(*of_type).order_by(TASKS.c.id).limit(FIRST_TASKS_EXAMINED)
    parts = [every.where(TASKS.c.state == state).subquery() for state in TaskState]
    return union_all(*(select(part.c.id) for part in parts))
