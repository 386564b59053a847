"""Scheduling attempts in SQL: queued, claimed, kept alive; how they end is in ``results``.

Every change of an attempt is a guarded update: it names the state, and where it matters the
worker, that it expects, and its row count is checked. So at most one result is accepted for an
attempt, even if several workers believe that they hold it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Float,
    Integer,
    and_,
    bindparam,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from eas.model import ClaimedAttempt, QueuedAttempt, StoredVersion
from eas.states import AttemptState, TaskState
from eas.taskdb import tables, workers
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow, AnySelect, reserve_ids
from eas.taskdb.queries import product_status

ATTEMPTS = tables.attempts
OPEN = (AttemptState.QUEUED, AttemptState.RUNNING)


class QueueItem(NamedTuple):
    """A task that shall get a new attempt. ``available_at``: not to be claimed before [Unix s]."""

    task_id: int
    job_id: int
    task_type: str
    number: int
    priority: int
    available_at: float = 0.0


def queue(connection: Connection, items: Sequence[QueueItem], now: float) -> list[QueuedAttempt]:
    """Add a queued attempt for each item and mark the tasks as queued."""
    if not items:
        return []
    first = reserve_ids(connection, "attempts", len(items))
    rows = [
        {
            "id": first + offset,
            "task_id": item.task_id,
            "job_id": item.job_id,
            "number": item.number,
            "task_type": item.task_type,
            "state": AttemptState.QUEUED,
            "priority": item.priority,
            "available_at": item.available_at,
            "queued_at": now,
        }
        for offset, item in enumerate(items)
    ]
    connection.execute(insert(ATTEMPTS), rows)
    set_task_states(connection, (item.task_id for item in items), TaskState.QUEUED)
    return [
        QueuedAttempt(first + offset, item.task_type, item.priority, item.available_at)
        for offset, item in enumerate(items)
    ]


def set_task_states(connection: Connection, task_ids: Iterable[int], state: TaskState, **values: Any) -> None:
    """Move tasks to ``state``, setting other columns to the same ``values`` on all of them."""
    for part in chunks(task_ids):
        connection.execute(update(tables.tasks).where(tables.tasks.c.id.in_(part)).values(state=state, **values))


def claimable(task_type: str, limit: int | BindParameter[int], now: float | BindParameter[float]) -> AnySelect:
    """Select the next attempts of one task type; the queue's index answers it alone, in order."""
    columns = (ATTEMPTS.c.id, ATTEMPTS.c.priority)
    return (
        select(*columns)
        .where(
            ATTEMPTS.c.state == AttemptState.QUEUED,
            ATTEMPTS.c.task_type == task_type,
            ATTEMPTS.c.available_at <= now,
        )
        .order_by(ATTEMPTS.c.priority, ATTEMPTS.c.id)
        .limit(limit)
    )


def paused(connection: Connection) -> set[str]:
    """Return the task types whose queue an operator paused."""
    table = tables.queue_settings
    return set(connection.execute(select(table.c.task_type).where(table.c.paused_at.is_not(None))).scalars())


def next_queued(connection: Connection, task_types: Sequence[str], limit: int, now: float) -> list[AnyRow]:
    """Return id and task type of the attempts to claim next, by priority, then age; nothing is locked."""
    if not task_types:
        return []
    return list(connection.execute(_next_queued(tuple(task_types)), {"most": limit, "due": now}).all())


@functools.lru_cache(maxsize=256)
def _next_queued(task_types: tuple[str, ...]) -> AnySelect:
    """Select what is to be claimed next of these types, up to ``most``, due by ``due``, unless paused.

    It is kept: to build it takes ten times as long as to run it, and an idle worker does so for ever.
    """
    settings = tables.queue_settings
    stopped = select(settings.c.task_type).where(settings.c.paused_at.is_not(None))
    selections = [
        claimable(each, bindparam("most", type_=Integer), bindparam("due", type_=Float))
        .where(literal(each).not_in(stopped))
        .add_columns(literal(each).label("task_type"))
        .subquery()
        for each in task_types
    ]
    merged = union_all(*(select(each) for each in selections)).subquery()
    found = select(merged.c.id, merged.c.task_type).order_by(merged.c.priority, merged.c.id)
    return found.limit(bindparam("most", type_=Integer))


class Free(NamedTuple):
    """An attempt that is locked for a claim; sorts by priority, then age."""

    priority: int
    attempt_id: int
    task_id: int


def _is_queued() -> ColumnElement[bool]:
    """Return the condition that an attempt is queued, as no index can answer it: for attempts that are known by id.

    sqlite keeps no statistics, takes the index of the queue for the better one where more than a few dozen ids are
    given, and reads every queued attempt: with 10^6 of them a claim of 128 took half a second.
    """
    return func.coalesce(ATTEMPTS.c.state, "") == AttemptState.QUEUED


def lock(connection: Connection, attempt_ids: Sequence[int], now: float) -> list[Free]:
    """Lock those of ``attempt_ids`` that are queued and due.

    Rows that another worker is claiming at this moment are skipped, not waited for (where the
    engine can; sqlite has one writer at a time anyway).
    """
    found: list[Free] = []
    for part in chunks(attempt_ids):
        free = and_(ATTEMPTS.c.id.in_(part), _is_queued(), ATTEMPTS.c.available_at <= now)
        query = select(ATTEMPTS.c.priority, ATTEMPTS.c.id, ATTEMPTS.c.task_id).where(free)
        found += [Free(*row) for row in connection.execute(query.with_for_update(skip_locked=True))]
    return found


def lock_next(connection: Connection, task_types: Iterable[str], limit: int, now: float) -> list[Free]:
    """Lock the next attempts of the task types, one type after the other, that no other transaction has locked."""
    found: list[Free] = []
    for task_type in task_types:
        query = claimable(task_type, limit - len(found), now).with_only_columns(
            ATTEMPTS.c.priority, ATTEMPTS.c.id, ATTEMPTS.c.task_id
        )
        found += [Free(*row) for row in connection.execute(query.with_for_update(skip_locked=True))]
        if len(found) >= limit:
            break
    return found


def claim(connection: Connection, worker_id: str, free: Iterable[Free], now: float) -> list[int]:
    """Give locked attempts to a worker; return their ids by priority, then age."""
    taken = sorted(free)
    for part in chunks(each.attempt_id for each in taken):
        values = {"state": AttemptState.RUNNING, "worker_id": worker_id, "claimed_at": now, "heartbeat_at": now}
        guarded = update(ATTEMPTS).where(ATTEMPTS.c.id.in_(part), _is_queued())
        if connection.execute(guarded.values(**values)).rowcount != len(part):
            raise RuntimeError("attempts that were locked for a claim changed under it")
    set_task_states(connection, (each.task_id for each in taken), TaskState.RUNNING)
    return [each.attempt_id for each in taken]


def describe(connection: Connection, attempt_ids: Sequence[int]) -> list[ClaimedAttempt]:
    """Return all that a worker needs to run the claimed ``attempt_ids``, in order.

    Records which version of each input the attempt reads.
    """
    found: dict[int, ClaimedAttempt] = {}
    for part in chunks(attempt_ids):
        rows = connection.execute(_claimed(part)).all()
        inputs, outputs = _files(connection, rows)
        for row in rows:
            found[row.id] = ClaimedAttempt(
                attempt_id=row.id,
                task_type=row.task_type,
                settings=json.loads(row.settings),
                metadata=json.loads(row.metadata),
                seed=_task_seed(row.seed, row.address),
                working_directory=row.working_directory,
                inputs=inputs.get(row.task_id, {}),
                outputs=outputs.get(row.task_id, {}),
            )
    return [found[attempt] for attempt in attempt_ids]


def _task_seed(job_seed: str, address: str) -> int:
    """Return 48 bits that depend on the job's seed and the task's place in the chain alone."""
    return int.from_bytes(hashlib.sha256(f"{job_seed}:{address}".encode()).digest()[:6], "big")


def _claimed(attempt_ids: Sequence[int]) -> AnySelect:
    task, job = tables.tasks, tables.jobs
    return (
        select(
            ATTEMPTS.c.id,
            ATTEMPTS.c.task_id,
            ATTEMPTS.c.job_id,
            ATTEMPTS.c.task_type,
            task.c.working_directory,
            task.c.settings,
            task.c.metadata,
            task.c.address,
            job.c.seed,
        )
        .join(task, task.c.id == ATTEMPTS.c.task_id)
        .join(job, job.c.id == ATTEMPTS.c.job_id)
        .where(ATTEMPTS.c.id.in_(attempt_ids))
    )


def _files(
    connection: Connection, attempts: Sequence[AnyRow]
) -> tuple[dict[int, dict[str, StoredVersion]], dict[int, dict[str, str]]]:
    """Return inputs and outputs by task id, and record which versions are read.

    Outputs are those that the chain names, not what an earlier attempt registered as it ran.
    """
    link, product = tables.task_products, tables.products
    task_of = {row.task_id: row for row in attempts}
    query = (
        select(link.c.task_id, link.c.direction, link.c.semantic, product.c.id, product.c.name)
        .add_columns(product.c.current_version_id)
        .join(product, product.c.id == link.c.product_id)
        .where(link.c.task_id.in_(task_of), link.c.dynamic.is_(False))
    )
    outputs: dict[int, dict[str, str]] = {}
    reads: list[AnyRow] = []
    for row in connection.execute(query):
        if row.direction == "out":
            outputs.setdefault(row.task_id, {})[row.semantic] = row.name
        else:
            reads.append(row)
    if not reads:
        return {}, outputs
    own = product_status.accepted_versions(
        connection, {row.id for row in reads}, {task_of[row.task_id].job_id for row in reads}
    )
    chosen = {
        (row.task_id, row.semantic): own.get((task_of[row.task_id].job_id, row.id), row.current_version_id)
        for row in reads
    }
    stored = product_status.stored(connection, set(chosen.values()) - {None})
    inputs: dict[int, dict[str, StoredVersion]] = {}
    recorded: list[dict[str, object]] = []
    for (task_id, semantic), version_id in chosen.items():
        if version_id in stored:
            inputs.setdefault(task_id, {})[semantic] = stored[version_id]
            recorded.append({"attempt_id": task_of[task_id].id, "semantic": semantic, "version_id": version_id})
    if recorded:
        connection.execute(insert(tables.attempt_inputs), recorded)
    return inputs, outputs


def keep_alive(connection: Connection, worker_id: str, now: float) -> set[int]:
    """Write a heartbeat for a worker and all that it runs; return the attempts that are still its own."""
    workers.keep_alive(connection, worker_id, now)
    held = (ATTEMPTS.c.worker_id == worker_id) & (ATTEMPTS.c.state == AttemptState.RUNNING)
    connection.execute(update(ATTEMPTS).where(held).values(heartbeat_at=now))
    return held_by(connection, worker_id)


def held_by(connection: Connection, worker_id: str) -> set[int]:
    """Return the attempts that a worker runs, as SQL knows it."""
    held = (ATTEMPTS.c.worker_id == worker_id) & (ATTEMPTS.c.state == AttemptState.RUNNING)
    return set(connection.execute(select(ATTEMPTS.c.id).where(held)).scalars())


def hand_back(connection: Connection, worker_id: str, attempt_ids: Sequence[int]) -> list[QueuedAttempt]:
    """Put claimed attempts whose code was never started back on the queue; return those it could."""
    held = still_held(connection, worker_id, attempt_ids)
    if not held:
        return []
    connection.execute(tables.attempt_inputs.delete().where(tables.attempt_inputs.c.attempt_id.in_(held)))
    values = {"state": AttemptState.QUEUED, "worker_id": None, "claimed_at": None, "heartbeat_at": None}
    connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.id.in_(held)).values(**values))
    set_task_states(connection, (row.task_id for row in held.values()), TaskState.QUEUED)
    return [QueuedAttempt(row.id, row.task_type, row.priority, row.available_at) for row in held.values()]


def still_held(connection: Connection, worker_id: str, attempt_ids: Sequence[int]) -> dict[int, AnyRow]:
    """Lock and return those of the attempts that this worker still runs: what a new try of the task takes over."""
    held: dict[int, AnyRow] = {}
    columns = [ATTEMPTS.c[name] for name in ("id", *QueueItem._fields)]
    for part in chunks(attempt_ids):
        mine = (
            ATTEMPTS.c.id.in_(part) & (ATTEMPTS.c.state == AttemptState.RUNNING) & (ATTEMPTS.c.worker_id == worker_id)
        )
        held.update({row.id: row for row in connection.execute(select(*columns).where(mine).with_for_update())})
    return held


def mark_seen(connection: Connection, attempt_ids: Iterable[int]) -> None:
    """Note that the orchestrator has looked at these ended attempts."""
    for part in chunks(attempt_ids):
        connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.id.in_(part)).values(unseen_by=None))


def depths(connection: Connection, due: float | None = None) -> dict[str, int]:
    """Return how many attempts are queued, by task type; with ``due``, only those to be run by then."""
    query = (
        select(ATTEMPTS.c.task_type, func.count())
        .where(ATTEMPTS.c.state == AttemptState.QUEUED)
        .group_by(ATTEMPTS.c.task_type)
    )
    if due is not None:
        query = query.where(ATTEMPTS.c.available_at <= due)
    return {row[0]: row[1] for row in connection.execute(query)}
