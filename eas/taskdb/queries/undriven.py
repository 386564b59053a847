"""Unfinished jobs that no process drives, while no supervisor is alive."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from eas.states import OPEN_JOB_STATES
from eas.taskdb import conditions, job_lease, tables
from eas.taskdb.engine import AnyRow
from eas.taskdb.service_lease import SUPERVISOR, is_alive

MAX_NAMES = 5


def undriven_jobs(connection: Connection, now: float) -> list[AnyRow]:
    """Return ``(id, name)`` of the jobs that make no progress because no process drives them, oldest first.

    The list is empty while a supervisor is alive, because it will adopt them. Jobs that are paused on withdrawn
    tasks are left out. ``now`` is database time [s].
    """
    if is_alive(connection, SUPERVISOR, now):
        return []
    job, task = tables.jobs, tables.tasks
    held = exists().where(task.c.job_id == job.c.id, conditions.withdrawn())
    query = select(job.c.id, job.c.name).where(job.c.state.in_(OPEN_JOB_STATES), job_lease.has_no_driver(now), ~held)
    return list(connection.execute(query.order_by(job.c.id)).all())


def warning(connection: Connection, now: float) -> str:
    """Return a warning about undriven jobs with what to do; empty if there are none."""
    found = undriven_jobs(connection, now)
    if not found:
        return ""
    names = ", ".join(f"{row.id} ({row.name})" for row in found[:MAX_NAMES])
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    what = "1 job is unfinished" if len(found) == 1 else f"{len(found)} jobs are unfinished"
    return (
        f"{what}, but no process drives them and no supervisor is alive: {names}{more}. "
        f"Start a supervisor (`eas schedule`), or run one of them: `eas run --resume {found[0].id}`"
    )
