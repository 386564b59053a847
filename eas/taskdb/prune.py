"""Statements that remove old jobs, each part of a short transaction, so that running jobs are not blocked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, exists, func, null, or_, select, update

from eas.chains import json_reader
from eas.chains.syntax import is_expression
from eas.states import FINAL_JOB_STATES, JobState, WorkerState
from eas.taskdb import job_changes, tables
from eas.taskdb.chunks import MAX_IN_VALUES, chunks
from eas.taskdb.engine import AnyRow

ATTEMPTS, JOBS, LINKS, LOG = tables.attempts, tables.jobs, tables.task_products, tables.log_entries
PRODUCTS, TASKS, VERSIONS = tables.products, tables.tasks, tables.product_versions


class RowCounts(NamedTuple):
    """Numbers of rows and of versions of file products, and the size of the versions [bytes]."""

    tasks: int = 0
    attempts: int = 0
    log_entries: int = 0
    versions: int = 0
    size: int = 0

    def __add__(self, other: RowCounts) -> RowCounts:  # type: ignore[override]
        """Return the sum of both."""
        return RowCounts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class RemovedVersion(NamedTuple):
    """A removed version of a file product, and the version that replaces it as the published one.

    ``successor``: store path of the version that is current now; None if there is none.
    """

    working_directory: str
    file_name: str
    store_path: str
    was_current: bool
    successor: str | None


def ended_before(connection: Connection, before: float) -> list[AnyRow]:
    """Return id, name and state of the jobs that ended before ``before`` [Unix s], newest first."""
    old = and_(JOBS.c.state.in_(FINAL_JOB_STATES), JOBS.c.ended_at < before)
    return list(connection.execute(select(JOBS.c.id, JOBS.c.name, JOBS.c.state).where(old).order_by(JOBS.c.id.desc())))


def readers(connection: Connection, job_ids: Iterable[int]) -> dict[int, set[int]]:
    """Return for each of these jobs the other jobs that have read, may still read, or have reused its products."""
    found: dict[int, set[int]] = {}
    maker, reader = ATTEMPTS.alias(), ATTEMPTS.alias()
    made, read = LINKS.alias(), LINKS.alias()
    making, reading = TASKS.alias(), TASKS.alias()
    used = tables.attempt_inputs
    for part in chunks(job_ids):
        queries = [
            select(maker.c.job_id, reader.c.job_id.label("reader"))
            .join(VERSIONS, VERSIONS.c.attempt_id == maker.c.id)
            .join(used, used.c.version_id == VERSIONS.c.id)
            .join(reader, reader.c.id == used.c.attempt_id)
            .where(maker.c.job_id.in_(part), reader.c.job_id != maker.c.job_id),
            select(maker.c.job_id, reading.c.job_id.label("reader"))
            .join(reading, reading.c.accepted_attempt_id == maker.c.id)
            .where(maker.c.job_id.in_(part), reading.c.job_id != maker.c.job_id),
            select(making.c.job_id, reading.c.job_id.label("reader"))
            .join(made, and_(made.c.task_id == making.c.id, made.c.direction == "out"))
            .join(read, and_(read.c.product_id == made.c.product_id, read.c.direction == "in"))
            .join(reading, reading.c.id == read.c.task_id)
            .where(making.c.job_id.in_(part), reading.c.job_id != making.c.job_id),
        ]
        for query in queries:
            for row in connection.execute(query.distinct()):
                found.setdefault(row.job_id, set()).add(row.reader)
    return found


def directory_in_use(connection: Connection, job_id: int) -> bool:
    """Return whether an unfinished job works in a directory that a job's file products are in.

    Which products a job reads is known only after its expansion. A directory given by an expression, or a chain that
    is no longer valid JSON, counts as using any directory.
    """
    query = (
        select(PRODUCTS.c.working_directory)
        .join(VERSIONS, VERSIONS.c.product_id == PRODUCTS.c.id)
        .join(ATTEMPTS, ATTEMPTS.c.id == VERSIONS.c.attempt_id)
        .where(ATTEMPTS.c.job_id == job_id)
    )
    mine = set(connection.execute(query.distinct()).scalars())
    if not mine:
        return False
    unfinished = select(JOBS.c.working_directory, JOBS.c.chain).where(JOBS.c.state.not_in(FINAL_JOB_STATES))
    for row in connection.execute(unfinished):
        document, problems = json_reader.read(row.chain)
        named = (each for key, each in json_reader.entries(document) if key == "working_directory")
        others = {row.working_directory, *(each.strip() for each in named if isinstance(each, str))}
        if problems or mine & others or any(map(is_expression, others)):
            return True
    return False


def extent(connection: Connection, job_id: int) -> RowCounts:
    """Return the numbers of rows and versions of a job."""
    versions = select(func.count(), func.coalesce(func.sum(VERSIONS.c.size), 0)).join(
        ATTEMPTS, ATTEMPTS.c.id == VERSIONS.c.attempt_id
    )
    number, size = connection.execute(versions.where(ATTEMPTS.c.job_id == job_id)).one()
    tasks, attempts, log = (
        int(connection.execute(select(func.count()).select_from(table).where(table.c.job_id == job_id)).scalar_one())
        for table in (TASKS, ATTEMPTS, LOG)
    )
    return RowCounts(tasks, attempts, log, int(number), int(size))


def superseded_attempts(connection: Connection, job_id: int, limit: int | None = None) -> list[int]:
    """Return superseded attempts: neither accepted nor the last of their task, and without versions."""
    later, other = ATTEMPTS.alias(), TASKS.alias()
    query = (
        select(ATTEMPTS.c.id)
        .join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id)
        .where(
            ATTEMPTS.c.job_id == job_id,
            or_(TASKS.c.accepted_attempt_id.is_(None), TASKS.c.accepted_attempt_id != ATTEMPTS.c.id),
            exists(select(later.c.id).where(later.c.task_id == ATTEMPTS.c.task_id, later.c.number > ATTEMPTS.c.number)),
            ~exists(select(VERSIONS.c.id).where(VERSIONS.c.attempt_id == ATTEMPTS.c.id)),
        )
        .limit(limit)
    )
    found = list(connection.execute(query).scalars())
    if not found:
        return []
    kept: set[int] = set()
    for part in chunks(found):
        kept.update(
            connection.execute(
                select(other.c.accepted_attempt_id).where(other.c.accepted_attempt_id.in_(part))
            ).scalars()
        )
    return [each for each in found if each not in kept]


def mark_for_removal(connection: Connection, job_id: int, before: float, now: float, *, products: bool) -> bool:
    """Mark a job as being removed; return False if it has been rescheduled or another job needs it.

    Until the job is removed, no process drives it and `eas reschedule` ignores it.
    """
    job = job_changes.lock(connection, job_id)
    if job.driver != job_changes.PRUNING:
        if not JobState(job.state).final or job.ended_at is None or job.ended_at >= before:
            return False
        if readers(connection, [job_id]) or (extent(connection, job_id).versions and not products):
            return False
        if directory_in_use(connection, job_id):
            return False
    marked = update(JOBS).where(JOBS.c.id == job_id)
    connection.execute(marked.values(driver=job_changes.PRUNING, driver_seen_at=now, revision=JOBS.c.revision + 1))
    return True


def remove_log(connection: Connection, job_id: int, limit: int = MAX_IN_VALUES) -> int:
    """Remove log entries of a job; return how many."""
    ids = list(connection.execute(select(LOG.c.id).where(LOG.c.job_id == job_id).limit(limit)).scalars())
    for part in chunks(ids):
        connection.execute(delete(LOG).where(LOG.c.id.in_(part)))
    return len(ids)


def remove_superseded(connection: Connection, job_id: int, limit: int = MAX_IN_VALUES) -> int:
    """Remove superseded attempts of a job, with their results; return how many."""
    ids = superseded_attempts(connection, job_id, limit)
    _remove_attempts(connection, ids)
    return len(ids)


def remove_inputs(connection: Connection, job_id: int, limit: int = MAX_IN_VALUES) -> int:
    """Remove the records of what attempts of a job have read, because they refer to versions."""
    used = tables.attempt_inputs
    query = select(used.c.attempt_id).join(ATTEMPTS, ATTEMPTS.c.id == used.c.attempt_id)
    ids = list(connection.execute(query.where(ATTEMPTS.c.job_id == job_id).distinct().limit(limit)).scalars())
    for part in chunks(ids):
        connection.execute(delete(used).where(used.c.attempt_id.in_(part)))
    return len(ids)


def remove_attempts(
    connection: Connection, job_id: int, limit: int = MAX_IN_VALUES
) -> tuple[int, list[RemovedVersion]]:
    """Remove attempts of a job with their results and versions; return how many, and the versions."""
    ids = list(connection.execute(select(ATTEMPTS.c.id).where(ATTEMPTS.c.job_id == job_id).limit(limit)).scalars())
    removed = _remove_versions(connection, ids)
    _remove_attempts(connection, ids)
    return len(ids), removed


def _remove_attempts(connection: Connection, ids: Sequence[int]) -> None:
    for part in chunks(ids):
        connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.id.in_(part)))


def _remove_versions(connection: Connection, attempt_ids: Sequence[int]) -> list[RemovedVersion]:
    removed: list[RemovedVersion] = []
    for part in chunks(attempt_ids):
        query = (
            select(VERSIONS.c.id, VERSIONS.c.store_path, PRODUCTS.c.id.label("product_id"), PRODUCTS.c.name)
            .add_columns(PRODUCTS.c.working_directory, PRODUCTS.c.current_version_id)
            .join(PRODUCTS, PRODUCTS.c.id == VERSIONS.c.product_id)
            .where(VERSIONS.c.attempt_id.in_(part))
        )
        rows = connection.execute(query.with_for_update()).all()
        gone = {row.id for row in rows}
        successors = _successors(connection, {row.product_id for row in rows if row.current_version_id in gone}, gone)
        for row in rows:
            current = row.current_version_id == row.id
            next_one = successors.get(row.product_id) if current else None
            if current:
                changed = update(PRODUCTS).where(PRODUCTS.c.id == row.product_id)
                connection.execute(changed.values(current_version_id=next_one.id if next_one else null()))
            path = next_one.store_path if next_one else None
            removed.append(RemovedVersion(row.working_directory, row.name, row.store_path, current, path))
        for some in chunks(gone):
            connection.execute(delete(VERSIONS).where(VERSIONS.c.id.in_(some)))
    return removed


def _successors(connection: Connection, product_ids: Iterable[int], gone: set[int]) -> dict[int, AnyRow]:
    """Return the newest version that passed QC and stays, by product."""
    found: dict[int, AnyRow] = {}
    for part in chunks(product_ids):
        query = select(VERSIONS).where(VERSIONS.c.product_id.in_(part), VERSIONS.c.passed_qc).order_by(VERSIONS.c.id)
        found.update({row.product_id: row for row in connection.execute(query) if row.id not in gone})
    return found


def remove_tasks(connection: Connection, job_id: int, limit: int = MAX_IN_VALUES) -> int:
    """Remove tasks of a job, children before parents, and products that no remaining task makes or reads."""
    query = select(TASKS.c.id).where(TASKS.c.job_id == job_id).order_by(TASKS.c.id.desc()).limit(limit)
    ids = list(connection.execute(query).scalars())
    for part in chunks(ids):
        linked = set(connection.execute(select(LINKS.c.product_id).where(LINKS.c.task_id.in_(part))).scalars())
        connection.execute(delete(LINKS).where(LINKS.c.task_id.in_(part)))
        for some in chunks(linked):
            mine = and_(PRODUCTS.c.id.in_(some), PRODUCTS.c.maker_task_id.in_(part))
            connection.execute(update(PRODUCTS).where(mine).values(maker_task_id=null()))
            unused = and_(
                ~exists(select(LINKS.c.task_id).where(LINKS.c.product_id == PRODUCTS.c.id)),
                ~exists(select(VERSIONS.c.id).where(VERSIONS.c.product_id == PRODUCTS.c.id)),
            )
            connection.execute(delete(PRODUCTS).where(PRODUCTS.c.id.in_(some), unused))
        connection.execute(delete(TASKS).where(TASKS.c.id.in_(part)))
    return len(ids)


def remove_job(connection: Connection, job_id: int) -> None:
    """Remove a job of which nothing else is left."""
    connection.execute(delete(JOBS).where(JOBS.c.id == job_id))


def oldest_worker(connection: Connection) -> float | None:
    """Return when the oldest worker that is alive started [Unix s]; None if there is none."""
    worker = tables.workers
    earliest = select(func.min(worker.c.started_at)).where(worker.c.state == WorkerState.ALIVE)
    started = connection.execute(earliest).scalar_one()
    return None if started is None else float(started)
