"""The product's own reports, compared with SQL."""

from __future__ import annotations

from sqlalchemy import func, select

from eas.model import CONTROL_TASKS
from eas.orchestration.job_summary import summarise
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

TASK, ATTEMPT = tables.tasks, tables.attempts


def differences(database: TaskDatabase) -> list[str]:
    """Return the jobs whose report differs from a count that a person would make in SQL."""
    with database.read() as connection:
        jobs = list(connection.execute(select(tables.jobs.c.id)).scalars())
    return [found for job in jobs for found in _difference(database, job)]


def _difference(database: TaskDatabase, job_id: int) -> list[str]:
    query = select(TASK.c.task_type, TASK.c.state, func.count()).where(TASK.c.job_id == job_id)
    with database.read() as connection:
        counted = {
            (row[0], row[1]): row[2] for row in connection.execute(query.group_by(TASK.c.task_type, TASK.c.state))
        }
    reported = {
        (task_type, str(state)): count
        for task_type, states in summarise(database, job_id).counts.items()
        for state, count in states.items()
        if count
    }
    return [] if reported == counted else [f"job {job_id}: reported {reported}, counted {counted}"]


def totals(database: TaskDatabase) -> dict[str, int]:
    """Return how many jobs, tasks and attempts by state there are."""
    with database.read() as connection:
        states = select(ATTEMPT.c.state, func.count()).group_by(ATTEMPT.c.state)
        found = {f"attempts {row[0]}": row[1] for row in connection.execute(states)}
        leaves = select(func.count()).select_from(TASK).where(TASK.c.task_type.not_in(sorted(CONTROL_TASKS)))
        found["tasks"] = connection.execute(leaves).scalar_one()
        found["jobs"] = connection.execute(select(func.count()).select_from(tables.jobs)).scalar_one()
    return found
