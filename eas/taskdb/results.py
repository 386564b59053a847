"""Records results of scheduling attempts in the task database.

A result is accepted only from the worker that still holds the attempt. State, metadata, timings, QC,
log, file versions and the next attempt go into one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from eas.model import AttemptResult, NewVersion, QueuedAttempt
from eas.states import AttemptState, TaskState
from eas.taskdb import attempts, dynamic_outputs, retry, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.products import add_versions

ATTEMPTS = tables.attempts


class ClosedAttempts(NamedTuple):
    """Outcome of closing attempts: ids of accepted results, retries that were queued, and the jobs concerned."""

    accepted: frozenset[int]
    requeued: tuple[QueuedAttempt, ...]
    jobs: frozenset[int] = frozenset()


def finish(connection: Connection, worker_id: str, results: Sequence[AttemptResult], now: float) -> ClosedAttempts:
    """Record results of attempts that this worker still holds; others are ignored.

    One transaction holds the state, metadata, timings, QC, log, file versions and, where the
    attempt failed and retries are left, the next attempt.
    """
    by_id = {result.attempt_id: result for result in results}
    held = attempts.still_held(connection, worker_id, list(by_id))
    accepted = [by_id[attempt] for attempt in held]
    if not accepted:
        return ClosedAttempts(frozenset(), ())
    done: list[AnyRow] = []
    failed: list[AnyRow] = []
    for each in accepted:
        (done if each.state is AttemptState.DONE else failed).append(held[each.attempt_id])
    attempts.end_running(connection, (row.id for row in done), AttemptState.DONE, now)
    attempts.end_running(connection, (row.id for row in failed), AttemptState.FAILED, now)
    connection.execute(insert(tables.attempt_results), [_result_row(each) for each in accepted])
    _record_versions(connection, held, accepted, now)
    _record_log(connection, held, accepted)
    _tasks_done(connection, done, now)
    requeued = retry.queue_retries(connection, failed, TaskState.FAILED, now)
    return ClosedAttempts(frozenset(held), tuple(requeued), frozenset(row.job_id for row in held.values()))


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
        # QC of a failed attempt without any check is unknown (NULL), not passed.
        "qc_passed": all(check.passed for check in result.checks) if result.checks or done else None,
        "checks": json.dumps([[check.name, check.passed, check.detail] for check in result.checks]),
        "output_metadata": json.dumps(dict(result.metadata)),
        "reason": result.reason,
    }


def aborted_result(row: AnyRow, reason: str, now: float) -> dict[str, object]:
    """Return the result row of a claimed attempt that was aborted; its resource usage is unknown."""
    # The clock of the claiming process may be slightly ahead of this one's.
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
