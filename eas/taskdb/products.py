"""Writes file products and their versions; ``queries.product_status`` reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import reserve_ids

Product = tuple[str, str]
"""(working directory, file name): the identity of a file product."""


def product_key(product: Product) -> str:
    """Return the SHA-256 of a product's identity, which the unique index holds."""
    return hashlib.sha256("\0".join(product).encode()).hexdigest()


def find(connection: Connection, products: Iterable[Product]) -> dict[Product, int]:
    """Return the ids of those products that are in the task database."""
    found: dict[Product, int] = {}
    table = tables.products
    for part in chunks(products):
        keys = [product_key(product) for product in part]
        query = select(table.c.id, table.c.working_directory, table.c.name).where(table.c.key.in_(keys))
        found.update({(row.working_directory, row.name): row.id for row in connection.execute(query)})
    return found


class Ensured(NamedTuple):
    """Ids of products, and which of them were added by this call."""

    ids: dict[Product, int]
    added: frozenset[Product]


def ensure(connection: Connection, products: Iterable[Product], makers: Mapping[Product, int] | None = None) -> Ensured:
    """Return the ids of all ``products``, adding those that are new, with their making tasks."""
    wanted, makers = set(products), makers or {}
    found = find(connection, wanted)
    missing = sorted(wanted - found.keys())
    if not missing:
        return Ensured(found, frozenset())
    first = reserve_ids(connection, "products", len(missing))
    rows = [
        {
            "id": first + offset,
            "working_directory": product[0],
            "name": product[1],
            "key": product_key(product),
            "maker_task_id": makers.get(product),
        }
        for offset, product in enumerate(missing)
    ]
    try:
        with connection.begin_nested():
            connection.execute(insert(tables.products), rows)
    except IntegrityError:
        # Another job has added some of them meanwhile.
        return ensure(connection, wanted, makers)
    return Ensured(found | {product: first + offset for offset, product in enumerate(missing)}, frozenset(missing))


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
