"""Log entries of all jobs or of one, the newest first, a page at a time."""

from __future__ import annotations

from sqlalchemy import Connection, select

from eas.taskdb import tables
from eas.taskdb.queries import keyset
from eas.taskdb.queries.keyset import Page

LOG, ATTEMPTS, TASKS = tables.log_entries, tables.attempts, tables.tasks

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""Names of levels, as ``logging`` numbers them."""


def page(
    connection: Connection,
    *,
    job_id: int | None = None,
    level: int = 0,
    after: str | None = None,
    limit: int = 100,
    oldest: bool = False,
) -> Page:
    """Return log entries of at least ``level`` with their task, the newest first or, with ``oldest``, in order.

    Rows: ``(id, logged_at, level, logger, message, traceback, attempt_id, number, task_id, task_type, name,
    metadata, job_id)``; ``after``: ``next`` of the page before.
    """
    fixed = () if job_id is None else (LOG.c.job_id == job_id,)
    beyond = keyset.cursor(after)
    if job_id is None and level <= 0:
        ranges: list[keyset.Conditions] = [(LOG.c.id > 0,)]
    else:
        levels = [each for each in keyset.distinct(connection, LOG.c.level, *fixed) if each >= level]
        ranges = [(*fixed, LOG.c.level == each) for each in levels]
    ids = (
        keyset.first_ids(connection, LOG.c.id, ranges, after=beyond, limit=limit + 1, descending=not oldest)
        if ranges
        else []
    )
    rows = _rows(connection, ids[:limit])
    return Page(rows, str(ids[limit - 1]) if len(ids) > limit else None)


def _rows(connection: Connection, ids: list[int]) -> list[object]:
    attempt = (ATTEMPTS.c.number, ATTEMPTS.c.task_id, ATTEMPTS.c.task_type)
    query = (
        select(LOG, *attempt, TASKS.c.name, TASKS.c.metadata)
        .outerjoin(ATTEMPTS, ATTEMPTS.c.id == LOG.c.attempt_id)
        .outerjoin(TASKS, TASKS.c.id == ATTEMPTS.c.task_id)
    )
    found = {row.id: row for row in connection.execute(query.where(LOG.c.id.in_(ids)))}
    return [found[each] for each in ids if each in found]
