"""Queries of reports: they read one consistent snapshot without locks and stream large results in chunks.

Every function takes the connection of a ``snapshot``. What may have as many rows as there are tasks
or attempts comes as an iterator of chunks, so memory stays flat whatever the database holds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    exists,
    func,
    literal,
    or_,
    select,
)

from eas.errors import RequestError
from eas.model import CONTROL_TASKS, DO_WHILE, FOR_LOOP
from eas.states import AttemptState, TaskState
from eas.taskdb import conditions, jobs, tables
from eas.taskdb.engine import AnyRow, AnySelect, TaskDatabase

TASKS, ATTEMPTS, JOBS = tables.tasks, tables.attempts, tables.jobs
RESULTS, LOG, WORKERS = tables.attempt_results, tables.log_entries, tables.workers

ROWS_PER_BATCH = 10_000
"""Number of rows read at a time."""

UNFINISHED = [state for state in AttemptState if not state.final]
LOOPS = [FOR_LOOP, DO_WHILE]
CONTROL = sorted(CONTROL_TASKS)

Conditions: TypeAlias = list[ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Filters:
    """Restricts a report to a part of the database; None means no restriction.

    Attributes
    ----------
    job_name:
        Label of the tasks: that of their job unless a chain gave some of them another one.
    since:
        Unix time [s]; each report documents which time is compared with it.
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


def snapshot(database: TaskDatabase) -> AbstractContextManager[Connection]:
    """Open a transaction with a consistent snapshot; keep it short.

    It takes no lock. While it lasts, sqlite's write-ahead log keeps growing and MySQL keeps old rows.
    """
    return database.read()


def check(connection: Connection, filters: Filters) -> None:
    """Raise RequestError if a filter names an unknown job, job name or task type."""
    if filters.job_id is not None and not _any(connection, JOBS.c.id == filters.job_id):
        raise RequestError(f"there is no job {filters.job_id}", hint=jobs.newest(connection))
    name = filters.job_name
    if name is not None and not (_any(connection, JOBS.c.name == name) or _any(connection, TASKS.c.job_name == name)):
        raise RequestError(f"no job is called {name!r}", hint=jobs.newest(connection))
    kind = filters.task_type
    if kind is not None and not (
        _any(connection, tables.task_types.c.name == kind) or _any(connection, TASKS.c.task_type == kind)
    ):
        known = connection.execute(select(tables.task_types.c.name).order_by(tables.task_types.c.name)).scalars()
        raise RequestError(f"there is no task type {kind!r}", hint=f"the task types are: {', '.join(known)}")


def _any(connection: Connection, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(literal(1)).where(condition).limit(1)).first() is not None


def stream(connection: Connection, query: AnySelect) -> Iterator[Sequence[AnyRow]]:
    """Yield the rows of ``query`` in chunks, as the engine gives them."""
    result = connection.execute(query, execution_options={"yield_per": ROWS_PER_BATCH})
    yield from result.partitions()


def plain_stream(connection: Connection, query: AnySelect) -> Iterator[Sequence[Sequence[Any]]]:
    """Yield the rows of ``query`` in chunks, as plain tuples where the engine gives such: a third faster.

    Truth values may come as 0 and 1.
    """
    if connection.dialect.name != "sqlite":
        yield from stream(connection, query)
        return
    # Without SQLAlchemy's streaming, which would buffer the first row.
    result = connection.execute(query, execution_options={"stream_results": False})
    assert result.cursor is not None
    with closing(result):
        while rows := result.cursor.fetchmany(ROWS_PER_BATCH):
            yield rows


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


def chains(connection: Connection, job_ids: Sequence[int]) -> dict[int, str]:
    """Return the task chains of jobs as JSON texts, by job id."""
    return {
        row.id: row.chain for row in connection.execute(select(JOBS.c.id, JOBS.c.chain).where(JOBS.c.id.in_(job_ids)))
    }


def loop_metadata(connection: Connection, filters: Filters) -> Iterator[Sequence[str]]:
    """Yield the metadata that the first iteration of each loop passes to its children, as JSON text.

    All loop parameters of a job are among it, and there are far fewer loops than tasks.
    """
    loop = TASKS.alias("loop")
    inside = Filters(filters.job_id, filters.job_name).tasks()
    # Named job by job, so that the index on job and task type finds the loops.
    loops = loop.c.job_id.in_(select(JOBS.c.id)) & loop.c.task_type.in_(LOOPS)
    first = select(TASKS.c.metadata).join(loop, loop.c.id == TASKS.c.parent_id).where(TASKS.c.ordinal == 0)
    for part in stream(connection, first.where(loops, *inside)):
        yield [row[0] for row in part]


def leaf_metadata(connection: Connection, filters: Filters) -> Iterator[Sequence[str]]:
    """Yield the inherited metadata of every task that is no control task, as JSON text."""
    query = select(TASKS.c.metadata).where(conditions.leaf(), *filters.tasks()).order_by(TASKS.c.id)
    for part in stream(connection, query):
        yield [row[0] for row in part]


def worker_hosts(connection: Connection) -> dict[str, str]:
    """Return the host names of all recorded workers, by worker id."""
    query = select(WORKERS.c.id, tables.hosts.c.name).join(tables.hosts, tables.hosts.c.id == WORKERS.c.host_id)
    return {row.id: row.name for row in connection.execute(query)}


def finished_attempts(connection: Connection, filters: Filters) -> Iterator[Sequence[Sequence[Any]]]:
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
        # A negative condition, so that engines do not choose the index on the state, which has another order.
        .where(ATTEMPTS.c.state.not_in(UNFINISHED), *filters.tasks(), *filters.after(ATTEMPTS.c.ended_at))
        .order_by(ATTEMPTS.c.id)
    )
    yield from plain_stream(connection, query)


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
    yield from stream(connection, query)


def logged_errors(connection: Connection, filters: Filters) -> Iterator[Sequence[AnyRow]]:
    """Yield every logged error and traceback, in the order of writing; ``since``: logged after it.

    Rows of ``(time, job_id, job_name, task_type, task_id, attempt_id, number, worker_id, level,
    logger, message, traceback)``, as ``unlogged_failures`` and ``unattempted_failures`` too.
    """
    query = (
        select(
            LOG.c.logged_at,
            LOG.c.job_id,
            TASKS.c.job_name,
            ATTEMPTS.c.task_type,
            ATTEMPTS.c.task_id,
            LOG.c.attempt_id,
            ATTEMPTS.c.number,
            ATTEMPTS.c.worker_id,
            LOG.c.level,
            LOG.c.logger,
            LOG.c.message,
            LOG.c.traceback,
        )
        .join(ATTEMPTS, ATTEMPTS.c.id == LOG.c.attempt_id)
        .join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id)
        .where(_is_error(), *filters.tasks(), *filters.after(LOG.c.logged_at))
        .order_by(LOG.c.id)
    )
    yield from stream(connection, query)


def _is_error() -> ColumnElement[bool]:
    return or_(LOG.c.level >= logging.ERROR, LOG.c.traceback.is_not(None))


def unlogged_failures(connection: Connection, filters: Filters) -> Iterator[Sequence[AnyRow]]:
    """Yield failed and stalled attempts that have no log entry: their worker vanished before it could write one."""
    logged = exists().where(LOG.c.attempt_id == ATTEMPTS.c.id, _is_error())
    bad = ATTEMPTS.c.state.in_([AttemptState.FAILED, AttemptState.STALLED])
    query = (
        select(
            ATTEMPTS.c.ended_at,
            ATTEMPTS.c.job_id,
            TASKS.c.job_name,
            ATTEMPTS.c.task_type,
            ATTEMPTS.c.task_id,
            ATTEMPTS.c.id,
            ATTEMPTS.c.number,
            ATTEMPTS.c.worker_id,
            literal(logging.ERROR),
            ATTEMPTS.c.state,
            func.coalesce(RESULTS.c.reason, ""),
            literal(None),
        )
        .join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id)
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .where(bad, ~logged, *filters.tasks(), *filters.after(ATTEMPTS.c.ended_at))
        .order_by(ATTEMPTS.c.id)
    )
    yield from stream(connection, query)


def unattempted_failures(connection: Connection, filters: Filters) -> Iterator[Sequence[AnyRow]]:
    """Yield tasks that failed before any attempt, for a reason of their own (a control task, say)."""
    tried = exists().where(ATTEMPTS.c.task_id == TASKS.c.id)
    none = literal(None)
    what = (TASKS.c.ended_at, TASKS.c.job_id, TASKS.c.job_name, TASKS.c.task_type, TASKS.c.id)
    query = (
        select(*what, none, none, none, literal(logging.ERROR), TASKS.c.state, TASKS.c.reason, none)
        .where(TASKS.c.state == TaskState.FAILED, TASKS.c.reason.is_not(None), ~tried)
        .where(*filters.tasks(), *filters.after(TASKS.c.ended_at))
        .order_by(TASKS.c.id)
    )
    yield from stream(connection, query)
