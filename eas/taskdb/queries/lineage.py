"""Lineage of file products: the tasks that make and read them, over any number of steps, up to a limit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sqlalchemy import Connection, func, select

from eas.errors import UnknownFileError
from eas.taskdb import products, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import task_details

LINKS, PRODUCTS, VERSIONS = tables.task_products, tables.products, tables.product_versions

Direction = Literal["up", "down"]

LIMIT = 200
"""Default limit on the number of tasks in one lineage."""


class Edge(NamedTuple):
    """A task that reads (``in``) or makes (``out``) a file product; ``level``: steps from the start."""

    task_id: int
    product_id: int
    direction: str
    level: int


@dataclass
class Lineage:
    """The tasks and file products above or below a file product.

    Attributes
    ----------
    start:
        The file product's id.
    tasks:
        Columns of ``task_details.LABEL`` of each task, by id.
    files:
        Row of ``products`` of each file product, by id.
    edges:
        Which task reads or makes which product, nearest first.
    truncated:
        Whether there is more than the limit allowed.
    """

    start: int
    tasks: dict[int, AnyRow] = field(default_factory=dict)
    files: dict[int, AnyRow] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    truncated: bool = False


def find_product(connection: Connection, name: str) -> AnyRow:
    """Return the row of the file product that a user names. Raises UnknownFileError.

    ``name``: its id, ``working_directory/name``, or the name alone if it occurs in one working directory only.
    """
    found = _by_id(connection, int(name)) if name.isascii() and name.isdecimal() and len(name) < 19 else None
    rows = [found] if found else _by_name(connection, name)
    if not rows:
        raise UnknownFileError(f"the task database knows no file {name!r}", hint="`eas files` lists the files of a job")
    if len(rows) > 1:
        places = ", ".join(f"{row.working_directory}/{row.name}" for row in rows[:5])
        raise UnknownFileError(f"several files are called {name!r}", hint=f"give the working directory, too: {places}")
    return rows[0]


def _by_id(connection: Connection, product_id: int) -> AnyRow | None:
    return connection.execute(select(PRODUCTS).where(PRODUCTS.c.id == product_id)).one_or_none()


def _by_name(connection: Connection, name: str) -> list[AnyRow]:
    places = [place for place, character in enumerate(name) if character == "/"]
    split = [(name[:place], name[place + 1 :]) for place in places]
    directories = connection.execute(select(tables.jobs.c.working_directory).distinct()).scalars()
    for candidates in (split, [(directory, name) for directory in directories]):
        ids = products.find(connection, candidates)
        if ids:
            return list(connection.execute(select(PRODUCTS).where(PRODUCTS.c.id.in_(ids.values()))).all())
    return []


def product(connection: Connection, product_id: int) -> AnyRow:
    """Return a file product's row. Raises UnknownFileError."""
    row = _by_id(connection, product_id)
    if row is None:
        raise UnknownFileError(f"there is no file {product_id} in the task database", hint="`eas files` lists files")
    return row


def makers(connection: Connection, product_ids: Iterable[int]) -> dict[int, int]:
    """Return the task that made the current version of each product, or else the one that is to make it."""
    found: dict[int, int] = {}
    attempt = tables.attempts
    for part in chunks(product_ids):
        made = (
            select(PRODUCTS.c.id, attempt.c.task_id)
            .join(VERSIONS, VERSIONS.c.id == PRODUCTS.c.current_version_id)
            .join(attempt, attempt.c.id == VERSIONS.c.attempt_id)
            .where(PRODUCTS.c.id.in_(part))
        )
        found.update({row.id: row.task_id for row in connection.execute(made)})
        rest = [each for each in part if each not in found]
        planned = select(LINKS.c.product_id, func.max(LINKS.c.task_id).label("task_id"))
        planned = planned.where(LINKS.c.product_id.in_(rest), LINKS.c.direction == "out")
        found.update({row.product_id: row.task_id for row in connection.execute(planned.group_by(LINKS.c.product_id))})
    return found


def readers(connection: Connection, product_id: int, *, after: int = 0, limit: int = LIMIT) -> list[AnyRow]:
    """Return ``(task_id, semantic)`` of the tasks with ids above ``after`` that read a product, in order."""
    query = select(LINKS.c.task_id, LINKS.c.semantic).where(LINKS.c.product_id == product_id, LINKS.c.direction == "in")
    query = query.where(LINKS.c.task_id > after).order_by(LINKS.c.task_id)
    return list(connection.execute(query.limit(limit)).all())


def lineage(
    connection: Connection, product_id: int, direction: Direction, *, depth: int | None = None, limit: int = LIMIT
) -> Lineage:
    """Return the ancestors (``up``) or descendants (``down``) of a file product.

    Goes breadth first over at most ``depth`` tasks in a row (None: any number) and ``limit`` tasks in
    all. A product's maker is the task that made its current version.
    """
    found = Lineage(product_id)
    tasks_seen: set[int] = set()
    products_seen = frontier = {product_id}
    level = 0
    while frontier and (depth is None or level < depth) and not found.truncated:
        near = _tasks_beside(connection, frontier, direction, limit - len(tasks_seen))
        if len(near) > limit - len(tasks_seen):
            near, found.truncated = near[: limit - len(tasks_seen)], True
        new = sorted({task for task, _ in near} - tasks_seen)
        found.edges += [Edge(task, file, "out" if direction == "up" else "in", level) for task, file in near]
        tasks_seen.update(new)
        far, cut = _products_beside(connection, new, "in" if direction == "up" else "out", limit)
        found.truncated = found.truncated or cut
        found.edges += [Edge(task, file, "in" if direction == "up" else "out", level) for task, file in far]
        frontier = {file for _, file in far} - products_seen
        products_seen = products_seen | frontier
        level += 1
    found.tasks = task_details.labels(connection, tasks_seen)
    found.files = _rows(connection, products_seen)
    return found


def _tasks_beside(
    connection: Connection, product_ids: Collection[int], direction: Direction, limit: int
) -> list[tuple[int, int]]:
    """Return ``(task, product)`` of makers or readers of products; above ``limit`` rows there are more."""
    if direction == "up":
        return [(task, file) for file, task in sorted(makers(connection, sorted(product_ids)).items())]
    found: list[tuple[int, int]] = []
    for file in sorted(product_ids):
        rows = readers(connection, file, limit=limit + 1 - len(found))
        found += dict.fromkeys((row.task_id, file) for row in rows)
        if len(found) > limit:
            break
    return found


def _products_beside(
    connection: Connection, task_ids: Sequence[int], direction: str, limit: int
) -> tuple[list[tuple[int, int]], bool]:
    """Return ``(task, product)`` of what tasks read or make, at most ``5 * limit``, and whether that is not all."""
    most = 5 * limit
    found: list[tuple[int, int]] = []
    for part in chunks(task_ids):
        query = select(LINKS.c.task_id, LINKS.c.product_id).where(LINKS.c.task_id.in_(part))
        query = query.where(LINKS.c.direction == direction).order_by(LINKS.c.task_id).limit(most + 1 - len(found))
        found += dict.fromkeys((row.task_id, row.product_id) for row in connection.execute(query))
        if len(found) > most:
            return found[:most], True
    return found, False


def _rows(connection: Connection, product_ids: Iterable[int]) -> dict[int, AnyRow]:
    query = select(PRODUCTS)
    return {
        row.id: row
        for part in chunks(sorted(product_ids))
        for row in connection.execute(query.where(PRODUCTS.c.id.in_(part)))
    }
