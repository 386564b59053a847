"""Cheap queries for ``eas status``."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, select

from eas.states import FINAL_JOB_STATES, WorkerState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow


def workers_in_pods(connection: Connection, host_prefix: str) -> dict[str, str]:
    """Return the hosts of living workers by worker id, for host names that start with ``host_prefix``."""
    worker, host = tables.workers, tables.hosts
    query = (
        select(worker.c.id, host.c.name)
        .join(host, host.c.id == worker.c.host_id)
        .where(worker.c.state == WorkerState.ALIVE, host.c.name.startswith(host_prefix, autoescape=True))
    )
    return {row.id: row.name for row in connection.execute(query)}


def unfinished_jobs(connection: Connection, limit: int = 10) -> list[AnyRow]:
    """Return ``(id, name, state)`` of jobs that are not over, the oldest first."""
    job = tables.jobs
    query = select(job.c.id, job.c.name, job.c.state).where(job.c.state.not_in(FINAL_JOB_STATES))
    return list(connection.execute(query.order_by(job.c.id).limit(limit)).all())


def last_errors(connection: Connection, limit: int = 5) -> list[AnyRow]:
    """Return ``(logged_at, job_name, message)`` of the errors that were logged last, the newest first."""
    entry, job = tables.log_entries, tables.jobs
    query = (
        select(entry.c.logged_at, job.c.name.label("job_name"), entry.c.message)
        .join(job, job.c.id == entry.c.job_id)
        .where(entry.c.level >= logging.ERROR)
    )
    return list(connection.execute(query.order_by(entry.c.id.desc()).limit(limit)).all())
