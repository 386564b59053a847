"""Locks for periodic work that any process may run: a guarded update of its last time decides which one runs it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

TABLE = tables.periodic_locks
TOKEN_RETENTION = 900.0
"""Time [s] for which tokens of committed transactions are kept: far longer than any process retries."""


def acquire(database: TaskDatabase, name: str, interval: float) -> bool:
    """Return whether the caller must run a periodic job, because no process has in the last ``interval`` seconds."""
    now = database.now()
    last = database.fetch(lambda connection: last_time(connection, name))
    if last is not None and now - interval < last <= now + interval:
        return False
    return database.transact(lambda connection: compare_and_set(connection, name, last, now))


def last_time(connection: Connection, name: str) -> float | None:
    """Return what a row holds: mostly when its work was last done [database time, s]; None where there is no row."""
    return connection.execute(select(TABLE.c.done_at).where(TABLE.c.name == name)).scalar()


def compare_and_set(connection: Connection, name: str, last: float | None, new: float) -> bool:
    """Replace the value ``last`` (None: no row) by ``new``; return False if another process has changed it."""
    if last is not None:
        mine = update(TABLE).where(TABLE.c.name == name, TABLE.c.done_at == last)
        return connection.execute(mine.values(done_at=new)).rowcount == 1
    try:
        with connection.begin_nested():
            connection.execute(TABLE.insert().values(name=name, done_at=new))
    except IntegrityError:
        return False
    return True


def delete_old_tokens(database: TaskDatabase) -> None:
    """Delete tokens of committed transactions that no process can still look up."""
    if not database.is_sqlite:
        table = tables.commits
        old = delete(table).where(table.c.committed_at < database.now() - TOKEN_RETENTION)
        database.transact(lambda connection: connection.execute(old).rowcount)
