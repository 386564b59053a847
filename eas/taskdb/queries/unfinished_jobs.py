"""Jobs that have not ended: who drives them, and which may still make file products."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, exists, select

from eas.model import CONTROL_TASKS
from eas.states import FINAL_TASK_STATES, OPEN_JOB_STATES, TaskState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow

JOBS = tables.jobs


def unfinished(connection: Connection) -> list[AnyRow]:
    """Return the jobs that are submitted or running, oldest first."""
    return list(connection.execute(select(JOBS).where(JOBS.c.state.in_(OPEN_JOB_STATES)).order_by(JOBS.c.id)).all())


def not_expanded(connection: Connection, working_directory: str) -> list[AnyRow]:
    """Return the unfinished jobs of a working directory with control tasks that have no children yet, oldest first."""
    unexpanded = exists().where(
        tables.tasks.c.job_id == JOBS.c.id,
        tables.tasks.c.state == TaskState.WAITING,
        tables.tasks.c.task_type.in_(sorted(CONTROL_TASKS)),
    )
    query = select(JOBS).where(
        JOBS.c.state.in_(OPEN_JOB_STATES), JOBS.c.working_directory == working_directory, unexpanded
    )
    return list(connection.execute(query.order_by(JOBS.c.id)).all())


def open_leases(connection: Connection, job_id: int | None = None) -> list[AnyRow]:
    """Return the leases of all unfinished jobs, or of ``job_id`` if it is unfinished. Supervisors run this often."""
    columns = (JOBS.c.id, JOBS.c.name, JOBS.c.priority, JOBS.c.revision, JOBS.c.driver, JOBS.c.driver_seen_at)
    query = select(*columns).where(JOBS.c.state.in_(OPEN_JOB_STATES)).order_by(JOBS.c.id)
    return list(connection.execute(query if job_id is None else query.where(JOBS.c.id == job_id)).all())


def other_jobs_may_add_products(connection: Connection, job_id: int, dynamic_output_types: Collection[str]) -> bool:
    """Return whether another unfinished job may still add tasks or products that this job waits for.

    It may where it has control tasks that are not expanded yet, or unfinished tasks of ``dynamic_output_types``,
    whose products are known only when they have run.
    """
    task = tables.tasks
    waiting = (task.c.state == TaskState.WAITING) & task.c.task_type.in_(sorted(CONTROL_TASKS))
    opening = task.c.state.not_in(FINAL_TASK_STATES) & task.c.task_type.in_(sorted(dynamic_output_types))
    unexpanded = exists().where(task.c.job_id == JOBS.c.id, waiting | opening)
    others = (JOBS.c.id != job_id, JOBS.c.state.in_(OPEN_JOB_STATES))
    query = select(JOBS.c.id).where(*others, unexpanded).limit(1)
    return connection.execute(query).first() is not None
