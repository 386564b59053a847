"""What reports read: queries of one consistent snapshot, streamed in chunks, locking nothing.

Every function takes the connection of a ``snapshot``. What may have as many rows as there are tasks
or attempts comes as an iterator of chunks, so memory stays flat whatever the database holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import ColumnElement, Connection, func, literal, or_, select

from eas.errors import RequestError
from eas.model import CONTROL_TASKS
from eas.states import AttemptState, JobState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow, AnySelect, TaskDatabase

TASKS, ATTEMPTS, JOBS = tables.tasks, tables.attempts, tables.jobs
RESULTS, LOG, WORKERS = tables.attempt_results, tables.log_entries, tables.workers

CHUNK = 20_000
"""Rows of one chunk."""

FINISHED = tuple(state for state in AttemptState if state.final)
CONTROL = sorted(CONTROL_TASKS)

Conditions: TypeAlias = list[ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which part of the database a report is about; None means all.

    Attributes
    ----------
    job_name:
        Label of the tasks: that of their job unless a chain gave some of them another one.
    since:
        Unix time [s]; what exactly must lie after it depends on the report.
    """

    job_id: int | None = None
    job_name: str | None = None
    task_type: str | None = None
    since: float | None = None

    def tasks(self) -> Conditions:
        """Return the conditions on the table ``tasks``."""
        found: Conditions = [] if self.job_id is None else [TASKS.c.job_id == self.job_id]
        if self.job_name is not None:
            found.append(TASKS.c.job_name == self.job_name)
        if self.task_type is not None:
            found.append(TASKS.c.task_type == self.task_type)
        return found

    def after(self, *times: ColumnElement[float] | ColumnElement[float | None]) -> Conditions:
        """Return the condition that one of ``times`` is not before ``since``."""
        return [] if self.since is None else [or_(*(time >= self.since for time in times))]


@contextmanager
def snapshot(database: TaskDatabase) -> Iterator[Connection]:
    """Open a transaction in which every query sees the same moment, and which can change nothing."""
    with database.read() as connection:
        if not database.is_sqlite:
            # The pipeline's own isolation level shows each statement a moment of its own.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


def check(connection: Connection, filters: Filters) -> None:
    """Raise RequestError where a filter names what the database has never seen."""
    if filters.job_id is not None and not _any(connection, JOBS.c.id == filters.job_id):
        raise RequestError(f"there is no job {filters.job_id}", cure=_known(connection))
    name = filters.job_name
    if name is not None and not (_any(connection, JOBS.c.name == name) or _any(connection, TASKS.c.job_name == name)):
        raise RequestError(f"no job has the name {name!r}", cure=_known(connection))
    kind = filters.task_type
    if kind is not None and not (
        _any(connection, tables.task_types.c.name == kind) or _any(connection, TASKS.c.task_type == kind)
    ):
        known = connection.execute(select(tables.task_types.c.name).order_by(tables.task_types.c.name)).scalars()
        raise RequestError(f"there is no task type {kind!r}", cure=f"the task types are: {', '.join(known)}")


def _any(connection: Connection, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(literal(1)).where(condition).limit(1)).first() is not None


def _known(connection: Connection) -> str:
    newest = connection.execute(select(JOBS.c.id, JOBS.c.name).order_by(JOBS.c.id.desc()).limit(5)).all()
    return "the newest jobs are: " + (", ".join(f"{row.id} ({row.name})" for row in newest) or "none yet")


def _stream(connection: Connection, query: AnySelect) -> Iterator[Sequence[AnyRow]]:
    result = connection.execution_options(yield_per=CHUNK).execute(query)
    yield from result.partitions()


def job_rows(connection: Connection, filters: Filters) -> list[AnyRow]:
    """Return the jobs that have tasks within ``filters``, oldest first; ``since``: not ended before it."""
    query = select(JOBS.c.id, JOBS.c.name, JOBS.c.state, JOBS.c.submitted_at, JOBS.c.started_at, JOBS.c.ended_at)
    if filters.job_id is not None:
        query = query.where(JOBS.c.id == filters.job_id)
    if filters.since is not None:
        query = query.where(or_(JOBS.c.ended_at.is_(None), JOBS.c.ended_at >= filters.since))
    if filters.job_name is not None:
        inside = select(TASKS.c.job_id).where(*filters.tasks())
        query = query.where(or_(JOBS.c.name == filters.job_name, JOBS.c.id.in_(inside)))
    return list(connection.execute(query.order_by(JOBS.c.id)).all())


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


def first_starts(connection: Connection, filters: Filters) -> dict[tuple[int, str], float]:
    """Return when the first attempt was claimed, by job that is not over and task type [Unix s]."""
    open_jobs = select(JOBS.c.id).where(JOBS.c.state.in_([JobState.SUBMITTED, JobState.RUNNING]))
    query = select(ATTEMPTS.c.job_id, ATTEMPTS.c.task_type, func.min(ATTEMPTS.c.claimed_at).label("first"))
    query = query.where(ATTEMPTS.c.job_id.in_(open_jobs))
    if filters.job_id is not None:
        query = query.where(ATTEMPTS.c.job_id == filters.job_id)
    rows = connection.execute(query.group_by(ATTEMPTS.c.job_id, ATTEMPTS.c.task_type))
    return {(row.job_id, row.task_type): row.first for row in rows if row.first is not None}


def inherited_metadata(connection: Connection, filters: Filters) -> Iterator[Sequence[str]]:
    """Yield the inherited metadata of the leaf tasks, as JSON text."""
    leaves = or_(TASKS.c.task_type.is_(None), TASKS.c.task_type.not_in(CONTROL))
    query = select(TASKS.c.metadata).where(leaves, *filters.tasks())
    for part in _stream(connection, query):
        yield [row[0] for row in part]


def worker_hosts(connection: Connection) -> dict[str, str]:
    """Return the host's name of every worker that ever was, by worker id."""
    query = select(WORKERS.c.id, tables.hosts.c.name).join(tables.hosts, tables.hosts.c.id == WORKERS.c.host_id)
    return {row.id: row.name for row in connection.execute(query)}


def finished_attempts(connection: Connection, filters: Filters) -> Iterator[Sequence[AnyRow]]:
    """Yield all attempts that are over, by id; ``since``: ended after it. See ``reports.timings``."""
    query = (
        select(
            ATTEMPTS.c.job_id,
            TASKS.c.job_name,
            ATTEMPTS.c.task_type,
            ATTEMPTS.c.task_id,
            ATTEMPTS.c.id,
            ATTEMPTS.c.number,
            ATTEMPTS.c.state,
            ATTEMPTS.c.worker_id,
            ATTEMPTS.c.queued_at,
            func.coalesce(RESULTS.c.started_at, ATTEMPTS.c.claimed_at).label("started_at"),
            func.coalesce(RESULTS.c.ended_at, ATTEMPTS.c.ended_at).label("ended_at"),
            RESULTS.c.wall,
            RESULTS.c.cpu,
            RESULTS.c.cpu_children,
            RESULTS.c.peak_memory,
            RESULTS.c.qc_passed,
            TASKS.c.metadata,
        )
        .join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id)
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .where(ATTEMPTS.c.state.in_(FINISHED), *filters.tasks(), *filters.after(ATTEMPTS.c.ended_at))
        .order_by(ATTEMPTS.c.id)
    )
    yield from _stream(connection, query)


def outcomes(connection: Connection, filters: Filters) -> Iterator[Sequence[AnyRow]]:
    """Yield the done tasks whose accepted output metadata may hold an outcome, by task id.

    ``since``: done after it. The text match only spares parsing: the caller looks for the key.
    """
    query = (
        select(
            TASKS.c.job_id,
            TASKS.c.job_name,
            TASKS.c.task_type,
            TASKS.c.id,
            TASKS.c.accepted_attempt_id,
            TASKS.c.metadata,
            RESULTS.c.output_metadata,
        )
        .join(RESULTS, RESULTS.c.attempt_id == TASKS.c.accepted_attempt_id)
        .where(RESULTS.c.output_metadata.like('%"outcome"%'), *filters.tasks(), *filters.after(TASKS.c.ended_at))
        .order_by(TASKS.c.id)
    )
    yield from _stream(connection, query)
