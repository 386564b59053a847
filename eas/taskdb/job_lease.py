"""The lease of a job: which process drives the job, and until when.

A driver takes the lease, renews it while it works, and releases it at the end. Another process can take it over
as soon as it has expired.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, or_, select, update

from eas.errors import JobChangedError, LostLeaseError
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow

JOBS = tables.jobs
LEASE_DURATION = 60.0
"""Time [s] after which a lease that is not renewed expires."""


def has_no_driver(now: float, lease: float = LEASE_DURATION) -> ColumnElement[bool]:
    """Return the condition that no process drives a job at ``now`` [database time, s]."""
    return or_(JOBS.c.driver.is_(None), JOBS.c.driver_seen_at < now - lease)


def is_driven(job: AnyRow, now: float, lease: float = LEASE_DURATION) -> bool:
    """Return whether a process drives the job of this row at ``now`` [database time, s]."""
    return job.driver is not None and job.driver_seen_at >= now - lease


def take(connection: Connection, job_id: int, driver: str, lease: float, now: float) -> bool:
    """Take or renew the lease of a job for ``driver``; return False while another driver's lease is valid."""
    free = or_(has_no_driver(now, lease), JOBS.c.driver == driver)
    guarded = update(JOBS).where(JOBS.c.id == job_id, free).values(driver=driver, driver_seen_at=now)
    return connection.execute(guarded).rowcount == 1


def renew(connection: Connection, job_id: int, driver: str, now: float) -> bool:
    """Renew the lease; False where another process has taken the job over."""
    guarded = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.driver == driver).values(driver_seen_at=now)
    return connection.execute(guarded).rowcount == 1


def require_driver(connection: Connection, job_id: int, driver: str, revision: int | None = None) -> None:
    """Lock a job until the commit: no other process can take it over or change its tasks meanwhile.

    Raises JobChangedError if the job's revision is not ``revision`` (None: any), and LostLeaseError if another
    process drives the job.
    """
    query = select(JOBS.c.driver, JOBS.c.revision).where(JOBS.c.id == job_id)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is not None and revision is not None and row.revision != revision:
        raise JobChangedError(f"the tasks of job {job_id} were changed", hint="load the job again")
    if row is None or row.driver != driver:
        raise LostLeaseError(f"job {job_id} was taken over by another process", hint="leave it to that one")


def release(connection: Connection, job_id: int, driver: str) -> None:
    """Release the job's lease, so that another process can drive it at once."""
    guarded = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.driver == driver)
    connection.execute(guarded.values(driver=None, driver_seen_at=None))
