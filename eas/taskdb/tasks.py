"""Tasks in SQL: written in bulk, read in bulk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func, insert, select, update

from eas.model import CONTROL_TASKS, TaskSpec
from eas.states import TaskState
from eas.taskdb import products, tables
from eas.taskdb.engine import AnyRow, reserve_ids
from eas.taskdb.products import chunks

TASKS = tables.tasks


class NewTask(NamedTuple):
    """A task to insert: under which parent, and as what."""

    parent_id: int | None
    spec: TaskSpec
    fingerprint: str | None = None


def reserve(connection: Connection, count: int) -> int:
    """Reserve ``count`` task ids and return the first."""
    return reserve_ids(connection, "tasks", count)


def add(
    connection: Connection,
    job_id: int,
    new: Mapping[int, NewTask],
    *,
    retries: int,
    max_stalls: int,
    now: float,
) -> dict[products.Product, int]:
    """Insert tasks under the reserved ids that are the keys of ``new``, parents before children.

    Returns the ids of the file products that they read and make.
    """
    if not new:
        return {}
    # Siblings of one loop share their settings object: serialise it once.
    texts: dict[int, str] = {}

    def text(value: Mapping[str, Any]) -> str:
        if not value:
            return "{}"
        if id(value) not in texts:
            texts[id(value)] = json.dumps(dict(value), separators=(",", ":"))
        return texts[id(value)]

    connection.execute(
        insert(TASKS),
        [
            {
                "id": task_id,
                "job_id": job_id,
                "parent_id": each.parent_id,
                "ordinal": each.spec.ordinal,
                "address": each.spec.address,
                "path": each.spec.path,
                "task_type": each.spec.task_type,
                "name": each.spec.name,
                "job_name": each.spec.job_name,
                "working_directory": each.spec.working_directory,
                "state": TaskState.WAITING,
                "metadata": text(each.spec.metadata),
                "settings": text(each.spec.settings),
                "requires": json.dumps(each.spec.requires),
                "pending": each.spec.pending,
                "retries_left": retries,
                "stalls_left": max_stalls,
                "fingerprint": each.fingerprint,
                "created_at": now,
            }
            for task_id, each in new.items()
        ],
    )
    return link_products(connection, {task_id: each.spec for task_id, each in new.items()})


def link_products(connection: Connection, specs: Mapping[int, TaskSpec]) -> dict[products.Product, int]:
    """Write down which products the tasks read and make; return the products' ids."""
    wanted = [
        (task_id, direction, semantic, (spec.working_directory, name))
        for task_id, spec in specs.items()
        if not spec.pending
        for direction, files in (("in", spec.inputs), ("out", spec.outputs))
        for semantic, name in files.items()
    ]
    if not wanted:
        return {}
    ids = products.ensure(connection, (product for *_, product in wanted))
    connection.execute(
        insert(tables.task_products),
        [
            {"task_id": task_id, "direction": direction, "semantic": semantic, "product_id": ids[product]}
            for task_id, direction, semantic, product in wanted
        ],
    )
    return ids


def configure(
    connection: Connection, task_id: int, spec: TaskSpec, fingerprint: str | None
) -> dict[products.Product, int]:
    """Write what could be evaluated only now that the requested metadata are here."""
    values = {
        "task_type": spec.task_type,
        "name": spec.name,
        "settings": json.dumps(dict(spec.settings), separators=(",", ":")),
        "job_name": spec.job_name,
        "working_directory": spec.working_directory,
        "pending": False,
        "fingerprint": fingerprint,
    }
    connection.execute(update(TASKS).where(TASKS.c.id == task_id).values(**values))
    return link_products(connection, {task_id: spec})


def of_job(connection: Connection, job_id: int) -> list[AnyRow]:
    """Return what the orchestrator needs of all tasks of a job, parents before children."""
    columns = (
        TASKS.c.id,
        TASKS.c.parent_id,
        TASKS.c.ordinal,
        TASKS.c.address,
        TASKS.c.path,
        TASKS.c.task_type,
        TASKS.c.name,
        TASKS.c.job_name,
        TASKS.c.working_directory,
        TASKS.c.state,
        TASKS.c.metadata,
        TASKS.c.settings,
        TASKS.c.requires,
        TASKS.c.pending,
        TASKS.c.reason,
        TASKS.c.retries_left,
        TASKS.c.held_at,
    )
    return list(connection.execute(select(*columns).where(TASKS.c.job_id == job_id).order_by(TASKS.c.id)).all())


def product_links(connection: Connection, job_id: int) -> list[AnyRow]:
    """Return which product each task of a job reads or makes."""
    link, product = tables.task_products, tables.products
    query = (
        select(link.c.task_id, link.c.direction, link.c.semantic, link.c.product_id, product.c.name)
        .join(TASKS, TASKS.c.id == link.c.task_id)
        .join(product, product.c.id == link.c.product_id)
        .where(TASKS.c.job_id == job_id)
    )
    return list(connection.execute(query).all())


def last_numbers(connection: Connection, job_id: int) -> dict[int, int]:
    """Return the number of the newest attempt of each task of a job that has one."""
    attempt = tables.attempts
    query = (
        select(attempt.c.task_id, func.max(attempt.c.number))
        .where(attempt.c.job_id == job_id)
        .group_by(attempt.c.task_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def settle(connection: Connection, states: Mapping[int, tuple[TaskState, str | None]], now: float) -> None:
    """Move tasks to states, each with its reason: a statement for each state and some hundred tasks."""
    groups: dict[TaskState, list[int]] = {}
    for task_id, (state, _) in states.items():
        groups.setdefault(state, []).append(task_id)
    for state, task_ids in groups.items():
        ended = now if state.final else None
        for part in chunks(task_ids):
            values = {"state": state, "reason": _each({task: states[task][1] for task in part}), "ended_at": ended}
            connection.execute(update(TASKS).where(TASKS.c.id.in_(part)).values(**values))


def _each(values: Mapping[int, Any]) -> Any:
    """Return an expression that is each task's own value; one value where all have the same."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return case(values, value=TASKS.c.id)


def accept(connection: Connection, reused: Sequence[tuple[int, int]], now: float) -> None:
    """Mark tasks as done by an attempt of another task: ``(task id, attempt id)``."""
    for part in chunks(reused):
        kept = dict(part)
        values = {
            "state": TaskState.DONE,
            "accepted_attempt_id": _each(kept),
            "ended_at": now,
            "reason": _each({task: f"kept from attempt {attempt}" for task, attempt in kept.items()}),
        }
        connection.execute(update(TASKS).where(TASKS.c.id.in_(kept)).values(**values))


def counts(connection: Connection, job_id: int | None = None) -> list[AnyRow]:
    """Return how many tasks there are by job, task type and state (control tasks included)."""
    query = select(TASKS.c.job_id, TASKS.c.task_type, TASKS.c.state, func.count().label("total"))
    if job_id is not None:
        query = query.where(TASKS.c.job_id == job_id)
    return list(connection.execute(query.group_by(TASKS.c.job_id, TASKS.c.task_type, TASKS.c.state)).all())


def unsuccessful(connection: Connection, job_id: int, limit: int = 1000) -> list[AnyRow]:
    """Return the tasks of a job that failed, stalled, or are blocked or cancelled.

    A control task counts only where it has a reason of its own, not where its children are it.
    """
    states = [TaskState.FAILED, TaskState.STALLED, TaskState.BLOCKED, TaskState.CANCELLED]
    by_itself = (
        TASKS.c.task_type.not_in(sorted(CONTROL_TASKS)) | TASKS.c.reason.is_not(None) | TASKS.c.task_type.is_(None)
    )
    query = select(TASKS).where(TASKS.c.job_id == job_id, TASKS.c.state.in_(states), by_itself)
    return list(connection.execute(query.order_by(TASKS.c.id).limit(limit)).all())


def types_of(connection: Connection, task_ids: Iterable[int]) -> set[str | None]:
    """Return the task types of tasks; None for one whose type is not known yet."""
    found: set[str | None] = set()
    for part in chunks(task_ids):
        found.update(connection.execute(select(TASKS.c.task_type).where(TASKS.c.id.in_(part)).distinct()).scalars())
    return found
