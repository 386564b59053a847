"""Status of file products: their makers, current versions, and where versions are stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from eas.model import StoredVersion
from eas.states import FINAL_TASK_STATES
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.products import Product, find


class ProductStatus(NamedTuple):
    """Status of a product: its current version, and the task that makes it.

    ``maker_task_id``, ``maker_job_id`` and ``maker_job`` name the newest task that makes it;
    ``maker_state`` is that task's state. All are None if no task makes it.
    """

    product_id: int
    current_version_id: int | None
    maker_task_id: int | None
    maker_job_id: int | None
    maker_job: str | None
    maker_state: str | None


def status(
    connection: Connection, products: Iterable[Product], *, except_job: int | None = None
) -> dict[Product, ProductStatus]:
    """Return the status of those ``products`` that are in the task database."""
    ids = find(connection, products)
    by_id = status_by_id(connection, ids.values(), except_job=except_job)
    return {product: by_id[product_id] for product, product_id in ids.items()}


def status_by_id(
    connection: Connection, product_ids: Iterable[int], *, except_job: int | None = None
) -> dict[int, ProductStatus]:
    """Return the status of products by id, ignoring makers in the job ``except_job``."""
    product, link, task = tables.products, tables.task_products, tables.tasks
    found: dict[int, ProductStatus] = {}
    for part in chunks(product_ids):
        join = link.c.product_id == product.c.id
        makers = (
            select(
                product.c.id,
                product.c.current_version_id,
                task.c.id.label("task_id"),
                task.c.job_id,
                task.c.job_name,
                task.c.state,
            )
            .select_from(
                product.outerjoin(link, join & (link.c.direction == "out")).outerjoin(task, task.c.id == link.c.task_id)
            )
            .where(product.c.id.in_(part))
            .order_by(task.c.id)
        )
        for row in connection.execute(makers):
            if row.task_id is None or row.job_id == except_job:
                found.setdefault(row.id, ProductStatus(row.id, row.current_version_id, None, None, None, None))
                continue
            known = found.get(row.id)
            # The newest maker counts, but an unfinished one takes precedence over an ended one.
            if known and known.maker_state not in (None, *FINAL_TASK_STATES) and row.state in FINAL_TASK_STATES:
                continue
            found[row.id] = ProductStatus(
                row.id, row.current_version_id, row.task_id, row.job_id, row.job_name, row.state
            )
    return found


def accepted_versions(
    connection: Connection, product_ids: Iterable[int], job_ids: Iterable[int]
) -> dict[tuple[int, int], int]:
    """Return, by job and product, the version that the job's own task made and had accepted.

    Tasks of the job read this version even if another job has made a newer one.
    """
    link, task, version = tables.task_products, tables.tasks, tables.product_versions
    jobs = list(job_ids)
    found: dict[tuple[int, int], int] = {}
    for part in chunks(product_ids):
        query = (
            select(task.c.job_id, link.c.product_id, func.max(version.c.id).label("version_id"))
            .join(task, task.c.id == link.c.task_id)
            .join(
                version,
                (version.c.product_id == link.c.product_id) & (version.c.attempt_id == task.c.accepted_attempt_id),
            )
            .where(link.c.product_id.in_(part), link.c.direction == "out", version.c.passed_qc)
            .where(task.c.job_id.in_(jobs))
            .group_by(task.c.job_id, link.c.product_id)
        )
        found.update({(row.job_id, row.product_id): row.version_id for row in connection.execute(query)})
    return found


def stored(connection: Connection, version_ids: Iterable[int]) -> dict[int, StoredVersion]:
    """Return where versions are stored, with the output metadata of the attempts that made them."""
    product, version, result = tables.products, tables.product_versions, tables.attempt_results
    found: dict[int, StoredVersion] = {}
    for part in chunks(version_ids):
        query = (
            select(version, product.c.name, result.c.output_metadata)
            .join(product, product.c.id == version.c.product_id)
            .outerjoin(result, result.c.attempt_id == version.c.attempt_id)
            .where(version.c.id.in_(part))
        )
        for row in connection.execute(query):
            metadata = json.loads(row.output_metadata) if row.output_metadata else {}
            found[row.id] = StoredVersion(row.product_id, row.name, row.store_path, row.size, row.sha256, metadata)
    return found


class CurrentVersion(NamedTuple):
    """A current version, with the fields needed to publish it."""

    working_directory: str
    name: str
    store_path: str


def last_current_versions(connection: Connection, worker_id: str, limit: int) -> list[CurrentVersion]:
    """Return the current versions among what a worker's last ``limit`` attempts made, the oldest first."""
    product, version, attempt = tables.products, tables.product_versions, tables.attempts
    last = (
        select(attempt.c.id)
        .where(attempt.c.worker_id == worker_id, attempt.c.ended_at.is_not(None))
        .order_by(attempt.c.ended_at.desc(), attempt.c.id.desc())
        .limit(limit)
    )
    made = list(connection.execute(last).scalars())
    query = (
        select(product.c.working_directory, product.c.name, version.c.store_path)
        .join(version, version.c.id == product.c.current_version_id)
        .where(version.c.attempt_id.in_(made))
        .order_by(version.c.id)
    )
    return [CurrentVersion(*row) for row in connection.execute(query)]


def names(connection: Connection, product_ids: Iterable[int]) -> dict[int, Product]:
    """Return working directory and file name of products."""
    table = tables.products
    found: dict[int, Product] = {}
    for part in chunks(product_ids):
        query = select(table.c.id, table.c.working_directory, table.c.name).where(table.c.id.in_(part))
        found.update({row.id: (row.working_directory, row.name) for row in connection.execute(query)})
    return found
