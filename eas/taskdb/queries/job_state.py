"""Queries of the orchestrator: the tasks of its job with their links, and newly ended attempts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, select

from eas.errors import UnknownJobError
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow

ATTEMPTS, TASKS = tables.attempts, tables.tasks


def tasks_of_job(connection: Connection, job_id: int) -> list[AnyRow]:
    """Return what the orchestrator needs of all tasks of a job, parents before children."""
    columns = (
        TASKS.c.id,
        TASKS.c.parent_id,
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
        TASKS.c.held_at,
    )
    return list(connection.execute(select(*columns).where(TASKS.c.job_id == job_id).order_by(TASKS.c.id)).all())


def product_links(connection: Connection, job_id: int) -> list[AnyRow]:
    """Return which product each task of a job reads or makes, as the chain says.

    Dynamic outputs are left out: their readers depend on the product, not on the task that made it.
    """
    link, product = tables.task_products, tables.products
    query = (
        select(link.c.task_id, link.c.direction, link.c.semantic, link.c.product_id, product.c.name)
        .join(TASKS, TASKS.c.id == link.c.task_id)
        .join(product, product.c.id == link.c.product_id)
        .where(TASKS.c.job_id == job_id, link.c.dynamic.is_(False))
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


def types_of(connection: Connection, task_ids: Iterable[int]) -> set[str | None]:
    """Return the task types of tasks; None for one whose type is not known yet."""
    found: set[str | None] = set()
    for part in chunks(task_ids):
        found.update(connection.execute(select(TASKS.c.task_type).where(TASKS.c.id.in_(part)).distinct()).scalars())
    return found


def ended_attempts(connection: Connection, job_id: int, limit: int = 10_000) -> tuple[int, list[AnyRow]]:
    """Return a job's revision, and its ended attempts that the orchestrator has not processed yet."""
    task, job = tables.tasks, tables.jobs
    # One query for both, because it runs several times a second for each running job.
    query = (
        select(job.c.revision, ATTEMPTS.c.id, ATTEMPTS.c.task_id, task.c.state.label("task_state"))
        .select_from(job)
        .outerjoin(ATTEMPTS, ATTEMPTS.c.unseen_by == job.c.id)
        .outerjoin(task, task.c.id == ATTEMPTS.c.task_id)
        .where(job.c.id == job_id)
        .order_by(ATTEMPTS.c.id)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    if not rows:
        raise UnknownJobError(f"job {job_id} is no longer in the task database", hint="was it restored from a save?")
    return rows[0].revision, [row for row in rows if row.id is not None]


def outputs_of(connection: Connection, task_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return the output metadata of the accepted attempts of tasks that have one."""
    task, result = tables.tasks, tables.attempt_results
    found: dict[int, dict[str, Any]] = {}
    for part in chunks(task_ids):
        query = (
            select(task.c.id, result.c.output_metadata)
            .join(result, result.c.attempt_id == task.c.accepted_attempt_id)
            .where(task.c.id.in_(part))
        )
        found.update({row.id: json.loads(row.output_metadata) for row in connection.execute(query)})
    return found
