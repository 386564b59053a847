"""Jobs in SQL: added, read, moved to another state."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select, update

from eas.errors import UnknownJobError
from eas.states import JobState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow, reserve_ids

JOBS = tables.jobs


def add(connection: Connection, *, now: float, **values: Any) -> int:
    """Insert a submitted job and return its id; ``values`` are the other columns of ``jobs``."""
    job_id = reserve_ids(connection, "jobs", 1)
    connection.execute(insert(JOBS).values(id=job_id, state=JobState.SUBMITTED, submitted_at=now, **values))
    return job_id


def get(connection: Connection, job_id: int) -> AnyRow:
    """Return a job's row. Raises UnknownJobError."""
    row = connection.execute(select(JOBS).where(JOBS.c.id == job_id)).one_or_none()
    if row is None:
        newest = connection.execute(select(JOBS.c.id, JOBS.c.name).order_by(JOBS.c.id.desc()).limit(5)).all()
        known = ", ".join(f"{row.id} ({row.name})" for row in newest) or "none: submit one first"
        raise UnknownJobError(f"there is no job {job_id} in the task database", hint=f"the newest jobs are: {known}")
    return row


def set_state(connection: Connection, job_id: int, state: JobState, **values: Any) -> None:
    """Move a job to ``state`` and set other columns with it."""
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(state=state, **values))
