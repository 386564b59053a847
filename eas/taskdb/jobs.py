"""Jobs in SQL, and the lease of the orchestrator that drives one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from eas.errors import JobChangedError, LostLeaseError, UnknownJobError
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


def take_lease(connection: Connection, job_id: int, driver: str, lease: float, now: float) -> bool:
    """Become (or stay) the one that drives a job; False while another driver's lease lasts [s]."""
    free = or_(JOBS.c.driver.is_(None), JOBS.c.driver == driver, JOBS.c.driver_seen_at < now - lease)
    guarded = update(JOBS).where(JOBS.c.id == job_id, free).values(driver=driver, driver_seen_at=now)
    return connection.execute(guarded).rowcount == 1


def keep_lease(connection: Connection, job_id: int, driver: str, now: float) -> bool:
    """Renew the lease; False where another process has taken the job over."""
    guarded = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.driver == driver).values(driver_seen_at=now)
    return connection.execute(guarded).rowcount == 1


def require_driver(connection: Connection, job_id: int, driver: str, revision: int | None = None) -> None:
    """Lock a job until the commit: no other process can take it over or change its tasks meanwhile.

    Raises JobChangedError if it is not at ``revision`` any more (None: whatever that is), and
    LostLeaseError if another process drives it.
    """
    query = select(JOBS.c.driver, JOBS.c.revision).where(JOBS.c.id == job_id)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is not None and revision is not None and row.revision != revision:
        raise JobChangedError(f"the tasks of job {job_id} were changed", hint="load the job again")
    if row is None or row.driver != driver:
        raise LostLeaseError(f"job {job_id} was taken over by another process", hint="leave it to that one")


def drop_lease(connection: Connection, job_id: int, driver: str) -> None:
    """Release the job's lease, so that another process can drive it at once."""
    guarded = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.driver == driver)
    connection.execute(guarded.values(driver=None, driver_seen_at=None))


def set_state(connection: Connection, job_id: int, state: JobState, **values: Any) -> None:
    """Move a job to ``state`` and set other columns with it."""
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(state=state, **values))
