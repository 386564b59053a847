"""Selects jobs for an operator's command: by name, or with queued, failed, blocked or withdrawn tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from eas.errors import UnknownJobError
from eas.states import AttemptState, TaskState
from eas.taskdb import conditions, jobs, tables
from eas.taskdb.chunks import chunks

ATTEMPTS, JOBS, TASKS = tables.attempts, tables.jobs, tables.tasks


def named(connection: Connection, job_name: str) -> list[int]:
    """Return the ids of the jobs of a name, oldest first. Raises UnknownJobError where there is none."""
    found = list(connection.execute(select(JOBS.c.id).where(JOBS.c.name == job_name).order_by(JOBS.c.id)).scalars())
    if not found:
        raise UnknownJobError(f"no job is called {job_name!r}", hint=jobs.newest(connection))
    return found


def jobs_with_queued(connection: Connection) -> list[int]:
    """Return the ids of the jobs that have queued attempts, ascending."""
    query = select(ATTEMPTS.c.job_id).where(ATTEMPTS.c.state == AttemptState.QUEUED).distinct()
    return sorted(connection.execute(query).scalars())


def has_failed(connection: Connection, job_id: int) -> bool:
    """Return whether a task of a job failed, stalled or was withdrawn from the queue."""
    bad = or_(TASKS.c.state.in_([TaskState.FAILED, TaskState.STALLED]), conditions.withdrawn())
    return connection.execute(select(TASKS.c.id).where(TASKS.c.job_id == job_id, bad).limit(1)).first() is not None


def jobs_blocked_by(connection: Connection, task_ids: Iterable[int], *, may_grow: bool) -> set[int]:
    """Return the jobs with blocked tasks that read what these tasks make.

    Where the tasks ``may_grow`` into others, also those whose input has no known maker.
    """
    made, read, reader = tables.task_products.alias("made"), tables.task_products.alias("read"), TASKS
    blocked = (
        select(reader.c.job_id)
        .distinct()
        .join(read, and_(read.c.task_id == reader.c.id, read.c.direction == "in"))
        .outerjoin(made, and_(made.c.product_id == read.c.product_id, made.c.direction == "out"))
        .where(reader.c.state == TaskState.BLOCKED)
    )
    found: set[int] = set()
    for part in chunks(task_ids):
        found.update(connection.execute(blocked.where(made.c.task_id.in_(part))).scalars())
    if may_grow:
        found.update(connection.execute(blocked.where(made.c.task_id.is_(None))).scalars())
    return found


def jobs_with_failures(connection: Connection) -> list[int]:
    """Return the ids of the jobs with tasks that failed, stalled or were withdrawn from the queue, ascending."""
    bad = or_(TASKS.c.state.in_([TaskState.FAILED, TaskState.STALLED]), conditions.withdrawn())
    return sorted(connection.execute(select(TASKS.c.job_id).where(bad).distinct()).scalars())


class WithdrawnTasks(NamedTuple):
    """Number of withdrawn tasks of a job, and the job's revision at that moment."""

    tasks: int
    revision: int


def withdrawn_tasks(connection: Connection, job_id: int) -> WithdrawnTasks:
    """Return the number of tasks of a job that wait until an operator reschedules them."""
    revision = jobs.get(connection, job_id).revision
    query = select(func.count()).where(TASKS.c.job_id == job_id, conditions.withdrawn())
    return WithdrawnTasks(connection.execute(query).scalar_one(), revision)
