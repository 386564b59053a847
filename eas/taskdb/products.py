"""File products and their versions in SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from eas.states import FINAL_TASK_STATES
from eas.taskdb import tables
from eas.taskdb.engine import reserve_ids

Product = tuple[str, str]
"""(working directory, file name): how a file product is known."""

T = TypeVar("T")

CHUNK = 500
"""Values in one IN list; engines limit the number of parameters."""


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield ``items`` in lists of at most ``size``."""
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def product_key(product: Product) -> str:
    """Return the SHA-256 that stands for a product in the unique index."""
    return hashlib.sha256("\0".join(product).encode()).hexdigest()


def find(connection: Connection, products: Iterable[Product]) -> dict[Product, int]:
    """Return the ids of those products that SQL knows."""
    found: dict[Product, int] = {}
    table = tables.products
    for part in chunks(products):
        keys = [product_key(product) for product in part]
        query = select(table.c.id, table.c.working_directory, table.c.name).where(table.c.key.in_(keys))
        found.update({(row.working_directory, row.name): row.id for row in connection.execute(query)})
    return found


def ensure(connection: Connection, products: Iterable[Product]) -> dict[Product, int]:
    """Return the ids of all ``products``, adding those that are new."""
    wanted = set(products)
    found = find(connection, wanted)
    missing = sorted(wanted - found.keys())
    if not missing:
        return found
    first = reserve_ids(connection, "products", len(missing))
    rows = [
        {"id": first + offset, "working_directory": product[0], "name": product[1], "key": product_key(product)}
        for offset, product in enumerate(missing)
    ]
    try:
        with connection.begin_nested():
            connection.execute(insert(tables.products), rows)
    except IntegrityError:
        # Another job added some of them just now.
        return ensure(connection, wanted)
    return found | {product: first + offset for offset, product in enumerate(missing)}


class ProductStatus(NamedTuple):
    """What SQL knows of a product: its current version, and who makes it.

    ``maker_task_id``, ``maker_job_id`` and ``maker_job`` name the newest task that makes it;
    ``maker_state`` is that task's state. All None where nothing ever did.
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
    """Return what is known of those ``products`` that SQL has heard of."""
    ids = find(connection, products)
    by_id = status_by_id(connection, ids.values(), except_job=except_job)
    return {product: by_id[product_id] for product, product_id in ids.items()}


def status_by_id(
    connection: Connection, product_ids: Iterable[int], *, except_job: int | None = None
) -> dict[int, ProductStatus]:
    """Return what is known of products by id; makers of job ``except_job`` do not count."""
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
            # The newest maker counts; one that may still deliver counts more.
            if known and known.maker_state not in (None, *FINAL_TASK_STATES) and row.state in FINAL_TASK_STATES:
                continue
            found[row.id] = ProductStatus(
                row.id, row.current_version_id, row.task_id, row.job_id, row.job_name, row.state
            )
    return found


def available(connection: Connection, product_ids: Iterable[int]) -> set[int]:
    """Return which products have a version that passed QC."""
    table = tables.products
    found: set[int] = set()
    for part in chunks(product_ids):
        query = select(table.c.id).where(table.c.id.in_(part), table.c.current_version_id.is_not(None))
        found.update(connection.execute(query).scalars())
    return found


def add_versions(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert product versions; those that passed QC become their products' current ones.

    ``rows`` have the columns of ``product_versions`` without the id.
    """
    if not rows:
        return
    first = reserve_ids(connection, "product_versions", len(rows))
    connection.execute(
        insert(tables.product_versions), [{"id": first + offset, **row} for offset, row in enumerate(rows)]
    )
    product, version = tables.products, tables.product_versions
    newest = (
        select(func.max(version.c.id))
        .where(version.c.product_id == product.c.id, version.c.passed_qc, version.c.id >= first)
        .where(version.c.id < first + len(rows))
        .scalar_subquery()
    )
    passed = {row["product_id"] for row in rows if row["passed_qc"]}
    for part in chunks(passed):
        connection.execute(update(product).where(product.c.id.in_(part)).values(current_version_id=newest))


class CurrentVersion(NamedTuple):
    """A current version with what showing it under its plain name needs."""

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
