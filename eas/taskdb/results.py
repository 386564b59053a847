"""How scheduling attempts end in SQL: with a result, or stalled.

A result is taken only from the worker that still holds the attempt. State, metadata, timings, QC,
log, file versions and the next try go into one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from eas.model import AttemptResult, NewVersion, QueuedAttempt
from eas.states import AttemptState, TaskState
from eas.taskdb import attempts, dynamic_outputs, tables, workers
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.products import add_versions

ATTEMPTS = tables.attempts
GONE = "its process is gone"
SILENT = "its heartbeats stopped"


class Closed(NamedTuple):
    """What came of closing attempts: the accepted ids, retries that were queued, and the jobs of all."""

    accepted: frozenset[int]
    requeued: tuple[QueuedAttempt, ...]
    jobs: frozenset[int] = frozenset()


def finish(connection: Connection, worker_id: str, results: Sequence[AttemptResult], now: float) -> Closed:
    """Record results of attempts that this worker still holds; others are ignored.

    One transaction holds the state, metadata, timings, QC, log, file versions and, where the
    attempt failed and retries are left, the next attempt.
    """
    by_id = {result.attempt_id: result for result in results}
    held = attempts.still_held(connection, worker_id, list(by_id))
    accepted = [by_id[attempt] for attempt in held]
    if not accepted:
        return Closed(frozenset(), ())
    _close(connection, held, [each.attempt_id for each in accepted if each.state is AttemptState.DONE], "done", now)
    _close(
        connection, held, [each.attempt_id for each in accepted if each.state is not AttemptState.DONE], "failed", now
    )
    connection.execute(insert(tables.attempt_results), [_result_row(each) for each in accepted])
    _record_versions(connection, held, accepted, now)
    _record_log(connection, held, accepted)
    done = [held[each.attempt_id] for each in accepted if each.state is AttemptState.DONE]
    failed = [held[each.attempt_id] for each in accepted if each.state is not AttemptState.DONE]
    _tasks_done(connection, done, now)
    requeued = retry_or_give_up(connection, failed, TaskState.FAILED, now)
    return Closed(frozenset(held), tuple(requeued), frozenset(row.job_id for row in held.values()))


def _close(connection: Connection, held: Mapping[int, AnyRow], ids: Sequence[int], state: str, now: float) -> None:
    for part in chunks(ids):
        guarded = update(ATTEMPTS).where(ATTEMPTS.c.id.in_(part), ATTEMPTS.c.state == AttemptState.RUNNING)
        values = {"state": AttemptState(state), "ended_at": now, "unseen_by": ATTEMPTS.c.job_id}
        if connection.execute(guarded.values(**values)).rowcount != len(part):
            raise RuntimeError("attempts that were locked for their result changed under it")
    assert set(ids) <= held.keys()


def _result_row(result: AttemptResult) -> dict[str, object]:
    done = result.state is AttemptState.DONE
    return {
        "attempt_id": result.attempt_id,
        "started_at": result.started,
        "ended_at": result.ended,
        "wall": result.usage.wall,
        "cpu": result.usage.cpu,
        "cpu_children": result.usage.cpu_children,
        "peak_memory": result.usage.peak_memory,
        # A failed attempt that left nothing to look at has not passed.
        "qc_passed": all(check.passed for check in result.checks) if result.checks or done else None,
        "checks": json.dumps([[check.name, check.passed, check.detail] for check in result.checks]),
        "output_metadata": json.dumps(dict(result.metadata)),
        "reason": result.reason,
    }


def broken_off(row: AnyRow, reason: str, now: float) -> dict[str, object]:
    """Return the result of a claimed attempt that was broken off; its resource use is unknown."""
    # Who claimed it may have read the clock a little ahead of us.
    began = min(row.claimed_at, now)
    return {
        "attempt_id": row.id,
        "started_at": began,
        "ended_at": now,
        "wall": now - began,
        "cpu": 0.0,
        "cpu_children": 0.0,
        "peak_memory": 0.0,
        "qc_passed": None,
        "checks": "[]",
        "output_metadata": "{}",
        "reason": reason,
    }


def _record_versions(
    connection: Connection, held: Mapping[int, AnyRow], results: Sequence[AttemptResult], now: float
) -> None:
    makers = [held[each.attempt_id].task_id for each in results if each.versions]
    if not makers:
        return
    link = tables.task_products
    made: dict[tuple[int, str], int] = {}
    for part in chunks(makers):
        query = select(link).where(link.c.task_id.in_(part), link.c.direction == "out")
        made.update({(row.task_id, row.semantic): row.product_id for row in connection.execute(query)})
    new = dynamic_outputs.add(connection, held, results)

    def product_of(attempt_id: int, version: NewVersion) -> int:
        if version.semantic:
            return made[held[attempt_id].task_id, version.semantic]
        return new[attempt_id, version.file_name]

    add_versions(
        connection,
        [
            {
                "product_id": product_of(each.attempt_id, version),
                "attempt_id": each.attempt_id,
                "semantic": version.semantic or dynamic_outputs.semantic_of(product_of(each.attempt_id, version)),
                "store_path": version.store_path,
                "size": version.size,
                "sha256": version.sha256,
                "passed_qc": each.state is AttemptState.DONE if version.passed is None else version.passed,
                "created_at": now,
            }
            for each in results
            for version in each.versions
        ],
    )


def _record_log(connection: Connection, held: Mapping[int, AnyRow], results: Sequence[AttemptResult]) -> None:
    rows = [
        {
            "attempt_id": each.attempt_id,
            "job_id": held[each.attempt_id].job_id,
            "logged_at": entry.logged_at,
            "level": entry.level,
            "logger": entry.logger,
            "message": entry.message,
            "traceback": entry.traceback,
        }
        for each in results
        for entry in each.log
    ]
    if rows:
        connection.execute(insert(tables.log_entries), rows)


def _tasks_done(connection: Connection, ended: Sequence[AnyRow], now: float) -> None:
    task = tables.tasks
    accepted = (
        select(func.max(ATTEMPTS.c.id))
        .where(ATTEMPTS.c.task_id == task.c.id, ATTEMPTS.c.state == AttemptState.DONE)
        .scalar_subquery()
    )
    for part in chunks(row.task_id for row in ended):
        values = {"state": TaskState.DONE, "ended_at": now, "accepted_attempt_id": accepted}
        connection.execute(update(task).where(task.c.id.in_(part)).values(**values))


def retry_or_give_up(
    connection: Connection, ended: Sequence[AnyRow], given_up: TaskState, now: float
) -> list[QueuedAttempt]:
    """Queue another attempt for tasks that have tries left, and close the others as ``given_up``.

    A failed attempt (``given_up`` is FAILED) uses up a retry and waits before it is tried again;
    a stalled one uses up a stall and is tried again at once.
    """
    if not ended:
        return []
    task, job = tables.tasks, tables.jobs
    stalled = given_up is TaskState.STALLED
    left = task.c.stalls_left if stalled else task.c.retries_left
    _hold_jobs(connection, {row.job_id for row in ended})
    found: dict[int, AnyRow] = {}
    for part in chunks(row.task_id for row in ended):
        query = select(task.c.id, left.label("left"), job.c.retries, job.c.backoff, job.c.cancel_requested_at)
        query = query.join(job, job.c.id == task.c.job_id).where(task.c.id.in_(part))
        found.update({row.id: row for row in connection.execute(query)})
    again = [row for row in ended if found[row.task_id].left > 0 and found[row.task_id].cancel_requested_at is None]
    over = {row.task_id for row in ended} - {row.task_id for row in again}
    attempts.set_task_states(connection, over, given_up, ended_at=now)
    for part in chunks(row.task_id for row in again):
        connection.execute(update(task).where(task.c.id.in_(part)).values({left: left - 1}))
    items = [
        attempts.QueueItem(
            row.task_id,
            row.job_id,
            row.task_type,
            row.number + 1,
            row.priority,
            now if stalled else now + _delay(found[row.task_id]),
        )
        for row in again
    ]
    return attempts.queue(connection, items, now)


def _hold_jobs(connection: Connection, job_ids: Iterable[int]) -> None:
    """Hold jobs until the commit: one that is cancelled meanwhile must not get new attempts."""
    for part in chunks(sorted(job_ids)):
        query = select(tables.jobs.c.id).where(tables.jobs.c.id.in_(part)).order_by(tables.jobs.c.id)
        connection.execute(query.with_for_update(read=True)).all()


def _delay(task: AnyRow) -> float:
    """Return how long to wait before the next try [s]: doubled each time, at most ten minutes."""
    used = task.retries - task.left
    return float(min(task.backoff * 2**used, 600.0))


class Stalled(NamedTuple):
    """What the reaper did: the attempts that it closed, and the new ones."""

    attempt_ids: tuple[int, ...]
    requeued: tuple[QueuedAttempt, ...]


def silent(connection: Connection, since: float) -> bool:
    """Return whether a worker, or a running attempt, was not heard of since a moment [Unix time, s]."""
    found = select(ATTEMPTS.c.id).where(_unheard(since)).limit(1)
    return connection.execute(found).first() is not None or bool(workers.silent(connection, since))


def _unheard(since: float) -> ColumnElement[bool]:
    return (ATTEMPTS.c.state == AttemptState.RUNNING) & (ATTEMPTS.c.heartbeat_at < since)


def reap(connection: Connection, since: float, now: float) -> Stalled:
    """Close attempts whose worker was not heard of since a moment as stalled [both Unix time, s]."""
    workers.lose(connection, workers.silent(connection, since), SILENT, now)
    return _close_stalled(connection, _unheard(since), SILENT, now)


def reap_workers(connection: Connection, worker_ids: Sequence[str], now: float, why: str = GONE) -> Stalled:
    """Close what these workers run as stalled: their processes have ended; ``why`` is the reason."""
    workers.lose(connection, worker_ids, why, now)
    held = (ATTEMPTS.c.state == AttemptState.RUNNING) & ATTEMPTS.c.worker_id.in_(worker_ids)
    return _close_stalled(connection, held, why, now)


def _close_stalled(connection: Connection, which: ColumnElement[bool], why: str, now: float) -> Stalled:
    rows = connection.execute(select(ATTEMPTS).where(which).with_for_update(skip_locked=True)).all()
    if not rows:
        return Stalled((), ())
    for part in chunks(row.id for row in rows):
        guarded = update(ATTEMPTS).where(ATTEMPTS.c.id.in_(part), ATTEMPTS.c.state == AttemptState.RUNNING)
        values = {"state": AttemptState.STALLED, "ended_at": now, "unseen_by": ATTEMPTS.c.job_id}
        if connection.execute(guarded.values(**values)).rowcount != len(part):
            raise RuntimeError("attempts that were locked for the reaper changed under it")
    ends = [broken_off(row, _why_stalled(row, why, now), now) for row in rows]
    connection.execute(insert(tables.attempt_results), ends)
    workers.lose(connection, sorted({row.worker_id for row in rows}), why, now)
    requeued = retry_or_give_up(connection, rows, TaskState.STALLED, now)
    return Stalled(tuple(row.id for row in rows), tuple(requeued))


def _why_stalled(row: AnyRow, why: str, now: float) -> str:
    last = row.heartbeat_at or row.claimed_at
    return f"stalled: worker {row.worker_id} was last heard of {now - last:.0f} s ago; {why}"
