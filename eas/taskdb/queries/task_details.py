"""Details of one task: ancestors, children, attempts, log, files and metadata.

Functions of a connection, each a few look-ups by index: their cost does not depend on the size of the job.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from eas.errors import UnknownTaskError
from eas.names import label_of
from eas.states import AttemptState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow

TASKS, ATTEMPTS, JOBS = tables.tasks, tables.attempts, tables.jobs
RESULTS, LOG = tables.attempt_results, tables.log_entries
LINKS, PRODUCTS, VERSIONS = tables.task_products, tables.products, tables.product_versions

MAX_FILES = 1000
"""Maximum number of files listed for one task; only tasks with dynamic outputs can have more."""

LABEL = (TASKS.c.id, TASKS.c.job_id, TASKS.c.task_type, TASKS.c.name, TASKS.c.state, TASKS.c.metadata, TASKS.c.reason)
"""Columns that ``label`` needs, and the state."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """An input or output of a task.

    Attributes
    ----------
    direction:
        ``in`` or ``out``.
    dynamic:
        Whether it is an output that the chain does not name.
    version:
        The version that the task's last attempt read or made, or for an input that no attempt has read
        yet the product's current one; a row of ``product_versions``, or None.
    maker_task_id:
        The task that makes or made it, None where no task does.
    """

    direction: str
    semantic: str
    product_id: int
    working_directory: str
    name: str
    dynamic: bool
    version: AnyRow | None
    maker_task_id: int | None


def get(connection: Connection, task_id: int) -> AnyRow:
    """Return a task's row with its job's state as ``job_state``. Raises UnknownTaskError."""
    query = select(TASKS, JOBS.c.state.label("job_state")).join(JOBS, JOBS.c.id == TASKS.c.job_id)
    row = connection.execute(query.where(TASKS.c.id == task_id)).one_or_none()
    if row is None:
        raise UnknownTaskError(
            f"there is no task {task_id} in the task database",
            hint="`eas jobs` lists the jobs, `eas report tree` tasks",
        )
    return row


def label(row: AnyRow) -> str:
    """Return a task's type, name and loop values: ``transit_search_tls "tls" [size=0.089]``."""
    return label_of(row.task_type, row.name, json.loads(row.metadata))


def labels(connection: Connection, task_ids: Iterable[int]) -> dict[int, AnyRow]:
    """Return the columns of ``LABEL`` of tasks, by id."""
    wanted = sorted({task for task in task_ids if task is not None})
    query = select(*LABEL)
    return {row.id: row for part in chunks(wanted) for row in connection.execute(query.where(TASKS.c.id.in_(part)))}


def ancestors(connection: Connection, task: AnyRow) -> list[AnyRow]:
    """Return the control tasks above a task, the job's root first: columns of ``LABEL`` and ``parent_id``."""
    found: list[AnyRow] = []
    parent_id = task.parent_id
    query = select(*LABEL, TASKS.c.parent_id)
    while parent_id is not None:
        row = connection.execute(query.where(TASKS.c.id == parent_id)).one()
        found.append(row)
        parent_id = row.parent_id
    return found[::-1]


def children(connection: Connection, task_id: int, *, after: int = -1, limit: int = 100) -> list[AnyRow]:
    """Return children of a control task with an ordinal above ``after``, in order, at most ``limit``."""
    query = select(*LABEL, TASKS.c.ordinal, TASKS.c.path, TASKS.c.ended_at).where(TASKS.c.parent_id == task_id)
    return list(connection.execute(query.where(TASKS.c.ordinal > after).order_by(TASKS.c.ordinal).limit(limit)).all())


def attempts(connection: Connection, task_id: int) -> list[AnyRow]:
    """Return all scheduling attempts of a task, oldest first, with results, and the host's name as ``host``."""
    worker, host = tables.workers, tables.hosts
    results = [column for column in RESULTS.c if column.name not in ("attempt_id", "ended_at")]
    query = (
        select(ATTEMPTS, *results, host.c.name.label("host"))
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .outerjoin(worker, worker.c.id == ATTEMPTS.c.worker_id)
        .outerjoin(host, host.c.id == worker.c.host_id)
        .where(ATTEMPTS.c.task_id == task_id)
    )
    return list(connection.execute(query.order_by(ATTEMPTS.c.number)).all())


def log(connection: Connection, attempt_id: int, *, level: int = 0, after: int = 0, limit: int = 1000) -> list[AnyRow]:
    """Return log entries of an attempt with at least ``level`` and an id above ``after``, in order."""
    query = select(LOG).where(LOG.c.attempt_id == attempt_id, LOG.c.id > after)
    if level > 0:
        query = query.where(LOG.c.level >= level)
    return list(connection.execute(query.order_by(LOG.c.id).limit(limit)).all())


def output_metadata(connection: Connection, task: AnyRow) -> dict[str, Any]:
    """Return the output metadata of the accepted attempt; empty if there is none."""
    if task.accepted_attempt_id is None:
        return {}
    query = select(RESULTS.c.output_metadata).where(RESULTS.c.attempt_id == task.accepted_attempt_id)
    text = connection.execute(query).scalar()
    return dict(json.loads(text)) if text else {}


def files(connection: Connection, task: AnyRow) -> list[TaskFile]:
    """Return the inputs and outputs of a task, at most ``MAX_FILES``: inputs first, each by semantic name."""
    query = (
        select(LINKS.c.direction, LINKS.c.semantic, LINKS.c.dynamic, LINKS.c.product_id, PRODUCTS.c.working_directory,
               PRODUCTS.c.name, PRODUCTS.c.current_version_id, PRODUCTS.c.maker_task_id)
        .join(PRODUCTS, PRODUCTS.c.id == LINKS.c.product_id)
        .where(LINKS.c.task_id == task.id)
    )  # fmt: skip
    rows = connection.execute(query.order_by(LINKS.c.direction, LINKS.c.semantic).limit(MAX_FILES)).all()
    last = _last_attempt(connection, task)
    read = _versions_read(connection, last)
    made = _versions_made(connection, last)
    current = versions(connection, [row.current_version_id for row in rows if row.direction == "in"])
    makers = makers_of(connection, current.values())
    found = []
    for row in rows:
        version = made.get(row.product_id)
        maker: int | None = task.id
        if row.direction == "in":
            version = read.get(row.semantic) or current.get(row.current_version_id)
            known = makers.get(version.attempt_id) if version is not None else None
            maker = known or row.maker_task_id or _any_maker(connection, row.product_id)
        found.append(TaskFile(row.direction, row.semantic, row.product_id, row.working_directory, row.name,
                              bool(row.dynamic), version, maker))  # fmt: skip
    return found


def versions(connection: Connection, version_ids: Iterable[int | None]) -> dict[int, AnyRow]:
    """Return versions of file products by id."""
    wanted = sorted({version for version in version_ids if version is not None})
    query = select(VERSIONS)
    return {row.id: row for part in chunks(wanted) for row in connection.execute(query.where(VERSIONS.c.id.in_(part)))}


def makers_of(connection: Connection, rows: Iterable[AnyRow]) -> dict[int, int]:
    """Return the tasks that made versions, by attempt id."""
    wanted = sorted({row.attempt_id for row in rows})
    query = select(ATTEMPTS.c.id, ATTEMPTS.c.task_id)
    return {
        row.id: row.task_id
        for part in chunks(wanted)
        for row in connection.execute(query.where(ATTEMPTS.c.id.in_(part)))
    }


def _last_attempt(connection: Connection, task: AnyRow) -> int | None:
    """Return the accepted attempt, or else the last one that a worker claimed."""
    if task.accepted_attempt_id is not None:
        return int(task.accepted_attempt_id)
    begun = ATTEMPTS.c.state.not_in([AttemptState.QUEUED])
    query = select(ATTEMPTS.c.id).where(ATTEMPTS.c.task_id == task.id, begun)
    return connection.execute(query.order_by(ATTEMPTS.c.number.desc()).limit(1)).scalar()


def _versions_read(connection: Connection, attempt_id: int | None) -> dict[str, AnyRow]:
    read = tables.attempt_inputs
    query = select(read.c.semantic.label("as_input"), VERSIONS).join(VERSIONS, VERSIONS.c.id == read.c.version_id)
    return {row.as_input: row for row in connection.execute(query.where(read.c.attempt_id == attempt_id))}


def _versions_made(connection: Connection, attempt_id: int | None) -> dict[int, AnyRow]:
    query = select(VERSIONS).where(VERSIONS.c.attempt_id == attempt_id).order_by(VERSIONS.c.id).limit(MAX_FILES)
    return {row.product_id: row for row in connection.execute(query)}


def _any_maker(connection: Connection, product_id: int) -> int | None:
    query = select(LINKS.c.task_id).where(LINKS.c.product_id == product_id, LINKS.c.direction == "out")
    return connection.execute(query.order_by(LINKS.c.task_id.desc()).limit(1)).scalar()


def checks(attempt: AnyRow) -> Sequence[tuple[str, bool, str]]:
    """Return the QC checks of an attempt: name, whether it passed, and details."""
    return [(str(name), bool(passed), str(detail)) for name, passed, detail in json.loads(attempt.checks or "[]")]
