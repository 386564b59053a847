"""Jobs in the task database: adding, reading, changing their state."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select, update

from eas.errors import UnknownJobError
from eas.states import JobState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow, AnySelect, reserve_ids

JOBS = tables.jobs


def add(connection: Connection, *, now: float, **values: Any) -> int:
    """Insert a submitted job and return its id; ``values`` are the other columns of ``jobs``."""
    job_id = reserve_ids(connection, "jobs", 1)
    connection.execute(insert(JOBS).values(id=job_id, state=JobState.SUBMITTED, submitted_at=now, **values))
    return job_id


def get(connection: Connection, job_id: int) -> AnyRow:
    """Return a job's row. Raises UnknownJobError."""
    return _one(connection, select(JOBS), job_id)


def state_of(connection: Connection, job_id: int) -> JobState:
    """Return the state of a job. Raises UnknownJobError."""
    return JobState(_one(connection, select(JOBS.c.state), job_id).state)


def _one(connection: Connection, query: AnySelect, job_id: int) -> AnyRow:
    row = connection.execute(query.where(JOBS.c.id == job_id)).one_or_none()
    if row is None:
        raise UnknownJobError(f"there is no job {job_id} in the task database", hint=newest(connection))
    return row


def newest(connection: Connection) -> str:
    """Return a hint that names the newest jobs."""
    rows = connection.execute(select(JOBS.c.id, JOBS.c.name).order_by(JOBS.c.id.desc()).limit(5)).all()
    return f"the newest jobs are: {', '.join(f'{row.id} ({row.name})' for row in rows) or 'none: submit one first'}"


def set_state(connection: Connection, job_id: int, state: JobState, **values: Any) -> None:
    """Move a job to ``state`` and set other columns with it."""
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(state=state, **values))
