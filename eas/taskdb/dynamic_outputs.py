"""File products that an attempt made without the chain naming them (``dynamic_outputs``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select

from eas.model import AttemptResult
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.products import Product, ensure


def semantic_of(product_id: int) -> str:
    """Return the semantic name of a dynamic output of a task: the same in every attempt."""
    return f"file_{product_id}"


def add(
    connection: Connection, held: Mapping[int, AnyRow], results: Sequence[AttemptResult]
) -> dict[tuple[int, str], int]:
    """Record dynamic outputs of attempts; return their product ids by attempt and file name."""
    unnamed = [(each.attempt_id, version) for each in results for version in each.versions if not version.semantic]
    if not unnamed:
        return {}
    tasks = {held[attempt_id].task_id for attempt_id, _ in unnamed}
    directories: dict[int, str] = {}
    linked: set[tuple[int, int]] = set()
    task, link = tables.tasks, tables.task_products
    for part in chunks(sorted(tasks)):
        rows = connection.execute(select(task.c.id, task.c.working_directory).where(task.c.id.in_(part)))
        directories.update({row.id: row.working_directory for row in rows})
        known = select(link.c.task_id, link.c.product_id).where(link.c.task_id.in_(part), link.c.direction == "out")
        linked.update((row.task_id, row.product_id) for row in connection.execute(known))
    wanted: dict[tuple[int, str], Product] = {
        (attempt_id, version.file_name): (directories[held[attempt_id].task_id], version.file_name)
        for attempt_id, version in unnamed
    }
    ids = ensure(connection, wanted.values()).ids
    found = {key: ids[product] for key, product in wanted.items()}
    pairs = {(held[attempt_id].task_id, product_id) for (attempt_id, _), product_id in found.items()} - linked
    if pairs:
        connection.execute(
            insert(link),
            [
                {
                    "task_id": task_id,
                    "direction": "out",
                    "semantic": semantic_of(product_id),
                    "product_id": product_id,
                    "dynamic": True,
                }
                for task_id, product_id in sorted(pairs)
            ],
        )
    return found
