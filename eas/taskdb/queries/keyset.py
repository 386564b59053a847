"""Keyset pagination: pages of rows in the order of their ids, read by index however large the table is.

An index on ``(job, type, state)`` gives the rows of one type and state of a job in the order of their
ids. A page over several types or states merges the first rows of each such range.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select, union_all

from eas.errors import RequestError
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnySelect

MAX_RANGES = 200
"""Ranges of one statement."""

MAX_SEARCH_TIME = 0.06
"""Maximum time [s] to search for the rows of one page; the next page continues from there."""

Conditions = Sequence[ColumnElement[bool]]


class Page(NamedTuple):
    """Rows of one page, and the cursor of the next page; None if there are no more rows.

    ``rows_examined``: rows that were examined for it, where a condition has no index; 0 where all have.
    """

    rows: list[Any]
    next: str | None
    rows_examined: int = 0


def all_pages(read: Callable[[str | None], Page]) -> Iterator[Any]:
    """Yield the rows of all pages of a list: ``read(after)`` gives the page that begins there."""
    after: str | None = None
    while True:
        page = read(after)
        yield from page.rows
        if page.next is None:
            return
        after = page.next


def distinct(connection: Connection, column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> list[Any]:
    """Return the values of an index's column, ascending, one look-up for each: there must be few.

    ``conditions`` fix the columns before it in the index. None comes first where it occurs.
    """
    query = select(func.min(column)).where(*conditions)
    absent = select(column).where(*conditions, column.is_(None)).limit(1)
    found: list[Any] = [None] if getattr(column, "nullable", True) and connection.execute(absent).first() else []
    value = connection.execute(query).scalar()
    while value is not None:
        found.append(value)
        value = connection.execute(query.where(column > value)).scalar()
    return found


def is_value(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    """Return the condition that a column has a value, or is NULL for None."""
    return column.is_(None) if value is None else column == value


def first_ids(
    connection: Connection,
    column: ColumnElement[int],
    ranges: Iterable[Conditions],
    *,
    after: int | None,
    limit: int,
    descending: bool = False,
) -> list[int]:
    """Return the first ``limit`` ids, in order, beyond ``after`` in ranges that an index gives in this order."""
    order = column.desc() if descending else column.asc()
    cursor_condition = [] if after is None else [column < after if descending else column > after]
    found: list[int] = []
    for part in chunks(ranges, MAX_RANGES):
        each = [
            select(column.label("id")).where(*fixed, *cursor_condition).order_by(order).limit(limit) for fixed in part
        ]
        found += connection.execute(_merged(each, limit, descending)).scalars()
    return sorted(found, reverse=descending)[:limit]


def _merged(parts: list[AnySelect], limit: int, descending: bool) -> AnySelect:
    if len(parts) == 1:
        return parts[0]
    rows = union_all(*(select(part.subquery().c.id) for part in parts)).subquery()
    return select(rows.c.id).order_by(rows.c.id.desc() if descending else rows.c.id).limit(limit)


def cursor(text: str | None) -> int | None:
    """Return the id that a page's address gives. Raises RequestError for anything else."""
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    raise RequestError(f"{text[:40]!r} is not a valid page", hint="start again from the first page")


def scan(
    ids: Callable[[int | None, int], list[int]],
    matching: Callable[[list[int]], list[Any]],
    *,
    after: int | None,
    limit: int,
    budget: int,
) -> Page:
    """Return a page of the rows that ``matching`` selects among ``ids``; examine at most ``budget`` rows.

    The search also ends after ``MAX_SEARCH_TIME`` seconds, so that pages load quickly on a busy machine.

    ``ids(after, count)`` gives the next candidates; ``matching`` rows in their order, each with ``id``.
    """
    rows: list[Any] = []
    looked_at = 0
    end = time.monotonic() + MAX_SEARCH_TIME
    for part in _parts(ids, after, budget):
        looked_at += len(part)
        rows += matching(part)
        if len(rows) > limit:
            return Page(rows[:limit], str(rows[limit - 1].id), looked_at)
        after = part[-1]
        if time.monotonic() > end:
            break
    more = looked_at > 0 and bool(ids(after, 1))
    return Page(rows, str(after) if more else None, looked_at)


def _parts(ids: Callable[[int | None, int], list[int]], after: int | None, budget: int) -> Iterator[list[int]]:
    left, size = budget, 250
    while left > 0:
        part = ids(after, min(size, left))
        if not part:
            return
        yield part
        after = part[-1]
        left -= len(part)
        size = min(2 * size, 1000)
