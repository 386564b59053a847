"""Maintenance that any process may run: one of them does, the others see that it was done."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

KEEP_COMMITS = 900.0
"""How long it is remembered which transactions took place [s]: far longer than anyone tries again."""


def acquire(database: TaskDatabase, name: str, interval: float) -> bool:
    """Return whether the caller is to run a periodic job: no process did in the last ``interval`` seconds."""
    now = database.now()
    table = tables.periodic_locks
    last = database.fetch(lambda c: c.execute(select(table.c.done_at).where(table.c.name == name)).scalar())
    if last is not None and now - interval < last <= now + interval:
        return False

    def claim(connection: Connection) -> bool:
        if last is None:
            try:
                with connection.begin_nested():
                    connection.execute(table.insert().values(name=name, done_at=now))
            except IntegrityError:
                return False
            return True
        mine = update(table).where(table.c.name == name, table.c.done_at == last)
        return connection.execute(mine.values(done_at=now)).rowcount == 1

    return database.transact(claim)


def forget_commits(database: TaskDatabase) -> None:
    """Remove the marks of transactions that are too old to be asked for."""
    if not database.is_sqlite:
        table = tables.commits
        old = delete(table).where(table.c.committed_at < database.now() - KEEP_COMMITS)
        database.transact(lambda connection: connection.execute(old).rowcount)
