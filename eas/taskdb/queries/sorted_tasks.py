"""Filtered tasks sorted by columns without an index; only for filters that select a bounded number of tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from eas.errors import RequestError
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.queries import keyset, task_list
from eas.taskdb.queries.keyset import Page
from eas.taskdb.queries.task_list import TaskFilter

TASKS, RESULTS = tables.tasks, tables.attempt_results

MAX_SORTED_TASKS = 10_000
"""Maximum number of tasks that are sorted."""

MAX_SEARCH_TIME = 0.3
"""Time after which the search for the tasks to be sorted ends [s]."""

DESCENDING: Final = {"ended": TASKS.c.ended_at, "duration": RESULTS.c.wall}
ASCENDING: Final = {"type": TASKS.c.task_type, "name": TASKS.c.name, "state": TASKS.c.state}
ORDERS: Final = (*DESCENDING, *ASCENDING)
"""What tasks can be sorted by: the time of their end, the wall time of their accepted attempt, and texts."""


def page(
    connection: Connection, wanted: TaskFilter, order: str, *, after: str | None = None, limit: int = task_list.LIMIT
) -> Page | None:
    """Return a page of tasks in one of ``ORDERS``; None if the search is too slow or finds over ``MAX_SORTED_TASKS``.

    The last to end and the longest come first, texts in the order of their characters, tasks without a value last.
    ``after``: ``next`` of the page before, a number of rows: tasks that change in between may come twice or not at all.

    Raises
    ------
    RequestError
        For an unknown order.
    """
    if order not in ORDERS:
        raise RequestError(f"there is no order {order[:40]!r}", hint=f"the orders are: newest, {', '.join(ORDERS)}")
    start = keyset.cursor(after) or 0
    ids = _selected_ids(connection, wanted)
    if ids is None:
        return None
    ids = _sorted(connection, ids, order)
    rows = task_list.rows_of(connection, ids[start : start + limit])
    return Page(rows, str(start + limit) if len(ids) > start + limit else None)


def durations(connection: Connection, attempt_ids: Sequence[int]) -> dict[int, float]:
    """Return the wall times of attempts [s], by id; attempts without one are left out."""
    query = select(RESULTS.c.attempt_id, RESULTS.c.wall).where(RESULTS.c.wall.is_not(None))
    rows = (
        row for part in chunks(attempt_ids) for row in connection.execute(query.where(RESULTS.c.attempt_id.in_(part)))
    )
    return {row.attempt_id: row.wall for row in rows}


def _selected_ids(connection: Connection, wanted: TaskFilter) -> list[int] | None:
    """Return the ids of all tasks that a filter selects; None if they are too many or the search takes too long."""
    if wanted.job_id is not None and wanted.is_indexed:
        chosen = task_list.first_ids(connection, wanted, MAX_SORTED_TASKS + 1)
        return chosen if len(chosen) <= MAX_SORTED_TASKS else None
    ids: list[int] = []
    after: str | None = None
    end = time.monotonic() + MAX_SEARCH_TIME
    while True:
        found = task_list.page(connection, wanted, after=after, limit=1000)
        ids += [row.id for row in found.rows]
        if len(ids) > MAX_SORTED_TASKS or (found.next is not None and time.monotonic() > end):
            return None
        if found.next is None:
            return ids
        after = found.next


def _sorted(connection: Connection, ids: list[int], order: str) -> list[int]:
    column = (DESCENDING | ASCENDING)[order]
    query = select(TASKS.c.id, column.label("key")).outerjoin(
        RESULTS, RESULTS.c.attempt_id == TASKS.c.accepted_attempt_id
    )
    keys: dict[int, Any] = {}
    for part in chunks(ids):
        keys |= {row.id: row.key for row in connection.execute(query.where(TASKS.c.id.in_(part)))}
    known = [each for each in ids if keys.get(each) is not None]
    known.sort(key=keys.__getitem__, reverse=order in DESCENDING)
    return known + [each for each in ids if keys.get(each) is None]
