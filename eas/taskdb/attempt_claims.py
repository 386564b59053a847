"""Claims of attempts: selects and locks the next queued attempts, assigns them to a worker, and returns them.

A claim is one transaction: it locks queued attempts, assigns them to the worker, and reads everything that the
worker needs to run them.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
from eas.taskdb import attempts, queue_settings, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow, AnySelect, TaskDatabase
from eas.taskdb.queries import product_status
from eas.wakeups import Wakeups

ATTEMPTS = tables.attempts


class AttemptClaims:
    """Claims attempts for queues, each call in one short transaction."""

    def __init__(self, database: TaskDatabase) -> None:
        self.database = database

    @property
    def wakeups(self) -> Wakeups:
        """Wake-ups between the processes of this machine."""
        return self.database.wakeups

    def now(self) -> float:
        """Return the database's time, to which due times are compared [Unix time, s]."""
        return self.database.now()

    def claim_next(self, worker_id: str, task_types: Sequence[str], limit: int) -> list[ClaimedAttempt]:
        """Claim the next queued attempts by priority, then age; see ``eas.queues.base``.

        One transaction claims them and records which versions they read; if it is rolled back, nothing is claimed.
        """
        now = self.database.now()
        # Most queries of an idle worker find nothing. They must not start a writing transaction, as sqlite
        # has one write lock for all processes.
        seen = self.database.fetch(lambda connection: next_queued(connection, task_types, limit, now))
        if not seen:
            return []
        return self.database.transact(lambda connection: _claim(connection, worker_id, seen, limit, now))

    def queued(self) -> list[QueuedAttempt]:
        """Return all queued attempts except those of paused task types, oldest first."""
        table = tables.attempts
        query = select(table.c.id, table.c.task_type, table.c.priority, table.c.available_at)

        def look(connection: Connection) -> list[QueuedAttempt]:
            stopped = queue_settings.paused_since(connection)
            rows = connection.execute(query.where(table.c.state == AttemptState.QUEUED).order_by(table.c.id))
            return [QueuedAttempt(*row) for row in rows if row.task_type not in stopped]

        return self.database.fetch(look)

    def still_queued(self, attempt_ids: Sequence[int]) -> set[int]:
        """Return those of ``attempt_ids`` that are queued, due or not."""
        rows = self.database.fetch(lambda connection: _rows(connection, attempt_ids))
        return {row.id for row in rows if row.state == AttemptState.QUEUED}

    def due(self) -> dict[str, int]:
        """Return how many attempts could be claimed now, by task type."""
        now = self.database.now()

        def look(connection: Connection) -> dict[str, int]:
            stopped = queue_settings.paused_since(connection)
            counts = attempts.queue_lengths(connection, now)
            return {task_type: count for task_type, count in counts.items() if task_type not in stopped}

        return self.database.fetch(look)

    def next_task_type(self, task_types: Sequence[str]) -> str | None:
        """Return the task type of the attempt that would be claimed next."""
        now = self.database.now()
        first = self.database.fetch(lambda connection: next_queued(connection, task_types, 1, now))
        return str(first[0].task_type) if first else None

    def depths(self) -> dict[str, int]:
        """Return how many attempts are queued, by task type."""
        return self.database.fetch(attempts.queue_lengths)


def _claim(
    connection: Connection, worker_id: str, seen: Sequence[AnyRow], limit: int, now: float
) -> list[ClaimedAttempt]:
    locked = lock_attempts(connection, [row.id for row in seen], now)
    if len(locked) < len(seen):
        # Other workers have claimed some of them: claim the next ones of the same types.
        task_types = dict.fromkeys(row.task_type for row in seen)
        held = {each.attempt_id for each in locked}
        more = lock_next_attempts(connection, task_types, limit, now)
        locked += [each for each in more if each.attempt_id not in held]
    return load_claimed(connection, claim(connection, worker_id, sorted(locked)[:limit], now))


def _rows(connection: Connection, attempt_ids: Sequence[int]) -> list[AnyRow]:
    table = tables.attempts
    found: list[AnyRow] = []
    for part in chunks(attempt_ids):
        query = select(table.c.id, table.c.task_type, table.c.state).where(table.c.id.in_(part))
        found += connection.execute(query).all()
    return found


def claimable(task_type: str, limit: int | BindParameter[int], now: float | BindParameter[float]) -> AnySelect:
    """Select the next attempts of one task type. The index of the queue covers this query, also its order."""
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


def next_queued(connection: Connection, task_types: Sequence[str], limit: int, now: float) -> list[AnyRow]:
    """Return id and task type of the attempts to claim next, by priority, then age; nothing is locked."""
    if not task_types:
        return []
    return list(connection.execute(_next_queued(tuple(task_types)), {"most": limit, "due": now}).all())


@functools.lru_cache(maxsize=256)
def _next_queued(task_types: tuple[str, ...]) -> AnySelect:
    """Select the next attempts of these types, up to ``most``, due by ``due``, whose queue is not paused.

    Cached, because building the statement takes ten times as long as running it, and idle workers run it often.
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


class LockedAttempt(NamedTuple):
    """An attempt that is locked for a claim; sorts by priority, then age."""

    priority: int
    attempt_id: int
    task_id: int


def _is_queued() -> ColumnElement[bool]:
    """Return the condition that an attempt is queued, in a form that no index matches; for attempts given by id.

    Without statistics, sqlite prefers the index of the queue to the primary key for more than a few dozen ids, and
    then reads every queued attempt: with 10^6 of them a claim of 128 took half a second.
    """
    return func.coalesce(ATTEMPTS.c.state, "") == AttemptState.QUEUED


def lock_attempts(connection: Connection, attempt_ids: Sequence[int], now: float) -> list[LockedAttempt]:
    """Lock those of ``attempt_ids`` that are queued and due.

    Rows that another worker is claiming at this moment are skipped, not waited for (where the
    engine can; sqlite has one writer at a time anyway).
    """
    found: list[LockedAttempt] = []
    for part in chunks(attempt_ids):
        free = and_(ATTEMPTS.c.id.in_(part), _is_queued(), ATTEMPTS.c.available_at <= now)
        query = select(ATTEMPTS.c.priority, ATTEMPTS.c.id, ATTEMPTS.c.task_id).where(free)
        found += [LockedAttempt(*row) for row in connection.execute(query.with_for_update(skip_locked=True))]
    return found


def lock_next_attempts(
    connection: Connection, task_types: Iterable[str], limit: int, now: float
) -> list[LockedAttempt]:
    """Lock the next attempts of the task types, one type after the other, that no other transaction has locked."""
    found: list[LockedAttempt] = []
    for task_type in task_types:
        query = claimable(task_type, limit - len(found), now).with_only_columns(
            ATTEMPTS.c.priority, ATTEMPTS.c.id, ATTEMPTS.c.task_id
        )
        found += [LockedAttempt(*row) for row in connection.execute(query.with_for_update(skip_locked=True))]
        if len(found) >= limit:
            break
    return found


def claim(connection: Connection, worker_id: str, locked: Iterable[LockedAttempt], now: float) -> list[int]:
    """Assign locked attempts to a worker; return their ids by priority, then age."""
    taken = sorted(locked)
    values = {"state": AttemptState.RUNNING, "worker_id": worker_id, "claimed_at": now, "heartbeat_at": now}
    attempts.guarded_update(connection, (each.attempt_id for each in taken), _is_queued(), **values)
    attempts.set_task_states(connection, (each.task_id for each in taken), TaskState.RUNNING)
    return [each.attempt_id for each in taken]


def load_claimed(connection: Connection, attempt_ids: Sequence[int]) -> list[ClaimedAttempt]:
    """Return everything that a worker needs to run the claimed ``attempt_ids``, in order.

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
    """Return a 48-bit seed that depends only on the job's seed and the task's address in the chain."""
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
    connection: Connection, claimed: Sequence[AnyRow]
) -> tuple[dict[int, dict[str, StoredVersion]], dict[int, dict[str, str]]]:
    """Return inputs and outputs by task id, and record which versions are read.

    Outputs are those that the chain names, not what an earlier attempt registered as it ran.
    """
    link, product = tables.task_products, tables.products
    task_of = {row.task_id: row for row in claimed}
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


def return_to_queue(connection: Connection, worker_id: str, attempt_ids: Sequence[int]) -> list[QueuedAttempt]:
    """Return claimed attempts whose code was never started to the queue; return those that were still held."""
    held = attempts.still_held(connection, worker_id, attempt_ids)
    if not held:
        return []
    connection.execute(tables.attempt_inputs.delete().where(tables.attempt_inputs.c.attempt_id.in_(held)))
    values = {"state": AttemptState.QUEUED, "worker_id": None, "claimed_at": None, "heartbeat_at": None}
    connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.id.in_(held)).values(**values))
    attempts.set_task_states(connection, (row.task_id for row in held.values()), TaskState.QUEUED)
    return [QueuedAttempt(row.id, row.task_type, row.priority, row.available_at) for row in held.values()]
