"""Iterates over the leaf tasks of a job in the order of its tree, from any position, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from eas.errors import RequestError
from eas.model import CHAIN, CONTROL_TASKS
from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import keyset, task_details

TASKS = tables.tasks
CHILDREN = 200
"""Children that are read at a time."""

Place = tuple[int, ...]


@dataclass
class Budget:
    """Limits of the queries and rows read for one page, and the numbers used so far.

    Attributes
    ----------
    queries, rows:
        What was spent.
    ends_at:
        Moment of ``time.monotonic`` at which the search ends in any case.
    """

    most_queries: int = 400
    most_rows: int = 10_000
    queries: int = 0
    rows: int = 0
    ends_at: float = field(default_factory=lambda: time.monotonic() + keyset.MAX_SEARCH_TIME)

    @property
    def exhausted(self) -> bool:
        """Whether the page has to end here."""
        spent = self.queries >= self.most_queries or self.rows >= self.most_rows
        return spent or time.monotonic() > self.ends_at


def leaves(
    connection: Connection,
    job_id: int,
    enter: Callable[[AnyRow], bool],
    *,
    after: str | None = None,
    budget: Budget,
) -> Iterator[tuple[str, AnyRow | None]]:
    """Yield ``(place, task)`` of the leaf tasks below those control tasks that ``enter`` accepts.

    A place is the ordinals from the root on, joined by dots. Control tasks that were looked at come as
    ``(place, None)``, so that the caller can end within a stretch without leaves and go on ``after`` it.
    """
    top = root(connection, job_id)
    if top is not None:
        yield from _below(connection, top.id, (), _place(after), enter, budget)


def root(connection: Connection, job_id: int) -> AnyRow | None:
    """Return the root task of a job: the columns of ``task_details.LABEL``."""
    # It has the lowest id of the job; its type is a chain, whatever its state.
    chain = (TASKS.c.job_id == job_id, TASKS.c.task_type == CHAIN)
    lowest = keyset.first_ids(
        connection, TASKS.c.id, [(*chain, TASKS.c.state == state) for state in TaskState], after=None, limit=1
    )
    query = select(*task_details.LABEL).where(TASKS.c.id.in_(lowest), TASKS.c.parent_id.is_(None))
    return connection.execute(query).one_or_none()


def _place(text: str | None) -> Place:
    if not text:
        return ()
    parts = text.split(".")
    if len(text) > 300 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise RequestError(f"{text[:40]!r} is not a valid page", hint="start again from the first page")
    return tuple(map(int, parts))


def _below(
    connection: Connection, parent: int, above: Place, after: Place, enter: Callable[[AnyRow], bool], budget: Budget
) -> Iterator[tuple[str, AnyRow | None]]:
    # The child on the way to ``after`` is entered again, unless it is itself what the last page ended at.
    start = after[0] if after else -1
    last = start - 1 if len(after) > 1 else start
    while True:
        rows = task_details.children(connection, parent, after=last, limit=CHILDREN)
        budget.queries += 1
        budget.rows += len(rows)
        for row in rows:
            place = (*above, row.ordinal)
            text = ".".join(map(str, place))
            if row.task_type not in CONTROL_TASKS:
                yield text, row
            elif enter(row):
                rest = after[1:] if row.ordinal == start else ()
                yield from _below(connection, row.id, place, rest, enter, budget)
                yield text, None
        if len(rows) < CHILDREN:
            return
        last = rows[-1].ordinal
        yield ".".join(map(str, (*above, last))), None
