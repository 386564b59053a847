"""Work that one of many processes is to do: a row says when it was last done; guarded updates decide who does it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

TABLE = tables.periodic_locks
KEEP_COMMITS = 900.0
"""How long it is remembered which transactions took place [s]: far longer than anyone tries again."""


def acquire(database: TaskDatabase, name: str, interval: float) -> bool:
    """Return whether the caller is to run a periodic job: no process did in the last ``interval`` seconds."""
    now = database.now()
    last = database.fetch(lambda connection: value(connection, name))
    if last is not None and now - interval < last <= now + interval:
        return False
    return database.transact(lambda connection: replace(connection, name, last, now))


def value(connection: Connection, name: str) -> float | None:
    """Return what a row holds: mostly when its work was last done [database time, s]; None where there is no row."""
    return connection.execute(select(TABLE.c.done_at).where(TABLE.c.name == name)).scalar()


def replace(connection: Connection, name: str, last: float | None, new: float) -> bool:
    """Put a new value in the place of ``last`` (None: there is no row yet); False where another process was quicker."""
    if last is not None:
        mine = update(TABLE).where(TABLE.c.name == name, TABLE.c.done_at == last)
        return connection.execute(mine.values(done_at=new)).rowcount == 1
    try:
        with connection.begin_nested():
            connection.execute(TABLE.insert().values(name=name, done_at=new))
    except IntegrityError:
        return False
    return True


def forget_commits(database: TaskDatabase) -> None:
    """Remove the marks of transactions that are too old to be asked for."""
    if not database.is_sqlite:
        table = tables.commits
        old = delete(table).where(table.c.committed_at < database.now() - KEEP_COMMITS)
        database.transact(lambda connection: connection.execute(old).rowcount)
