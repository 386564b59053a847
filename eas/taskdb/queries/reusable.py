"""File products that exist: which attempts made them the same way, and which tasks would replace them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks


def would_replace(connection: Connection, job_id: int, task_ids: Sequence[int]) -> dict[int, str]:
    """Return tasks whose products another job has made, with the reason why they must not run.

    Submission has checked all names known at that time; this checks names that became known during the run.
    """
    link, product, version = tables.task_products, tables.products, tables.product_versions
    attempt = tables.attempts
    query = (
        select(link.c.task_id, product.c.name, version.c.attempt_id)
        .join(product, product.c.id == link.c.product_id)
        .join(version, version.c.id == product.c.current_version_id)
        .join(attempt, attempt.c.id == version.c.attempt_id)
        .where(link.c.task_id.in_(task_ids), link.c.direction == "out", attempt.c.job_id != job_id)
    )
    return {
        row.task_id: f"its product {row.name!r} exists already (attempt {row.attempt_id} made it); "
        "submit with --if-exists reuse or replace"
        for row in connection.execute(query)
    }


def made_the_same_way(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """Return ready tasks whose products an attempt has made in the same way, with the attempt's id."""
    task, old = tables.tasks.alias("ready"), tables.tasks.alias("old")
    query = (
        select(task.c.id, old.c.accepted_attempt_id)
        .join(old, old.c.fingerprint == task.c.fingerprint)
        .where(task.c.id.in_(task_ids), old.c.state == TaskState.DONE, old.c.accepted_attempt_id.is_not(None))
        .order_by(old.c.id)
    )
    candidates = {row.id: row.accepted_attempt_id for row in connection.execute(query)}
    if not candidates:
        return {}
    outdated = _outdated(connection, list(candidates.values()))
    return {task_id: attempt for task_id, attempt in candidates.items() if attempt not in outdated}


def _outdated(connection: Connection, attempt_ids: Sequence[int]) -> set[int]:
    """Return attempts that read or made a version that is no longer current."""
    version, product, read = tables.product_versions, tables.products, tables.attempt_inputs
    stale = (product.c.current_version_id != version.c.id) | product.c.current_version_id.is_(None)
    outdated: set[int] = set()
    for part in chunks(attempt_ids):
        made = (
            select(version.c.attempt_id)
            .join(product, product.c.id == version.c.product_id)
            .where(version.c.attempt_id.in_(part), stale)
        )
        used = (
            select(read.c.attempt_id)
            .join(version, version.c.id == read.c.version_id)
            .join(product, product.c.id == version.c.product_id)
            .where(read.c.attempt_id.in_(part), stale)
        )
        outdated.update(connection.execute(made).scalars(), connection.execute(used).scalars())
    return outdated
