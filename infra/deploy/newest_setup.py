"""The newest setup wins: each has a number, and one that finds a newer one in the task database ends.

A setup that was given up may still run when the next one starts, and would overwrite the newer settings.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from eas.errors import RequestError
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

NAME = "setup"
"""Row of the table of periodic work that holds the number of the newest setup."""
TABLE = tables.periodic_locks


class SupersededError(RequestError):
    """A later `eas deploy` has begun its setup."""


def claim(connection: Connection, number: int) -> None:
    """Record that the setup of this number runs. Raises SupersededError where a newer one has begun."""
    if _newest(connection) is None:
        try:
            with connection.begin_nested():
                connection.execute(TABLE.insert().values(name=NAME, done_at=float(number)))
        except IntegrityError:  # another one was quicker
            claim(connection, number)
        return
    older = update(TABLE).where(TABLE.c.name == NAME, TABLE.c.done_at <= float(number))
    if connection.execute(older.values(done_at=float(number))).rowcount != 1:
        raise _superseded(number, _newest(connection))


def require_newest(database: TaskDatabase, number: int | None) -> None:
    """Raise SupersededError where a newer setup has begun; one without a number is always wanted."""
    newest = database.fetch(_newest)
    if number is not None and newest is not None and newest > number:
        raise _superseded(number, newest)


def _newest(connection: Connection) -> float | None:
    return connection.execute(select(TABLE.c.done_at).where(TABLE.c.name == NAME)).scalar()


def _superseded(number: int, newest: float | None) -> SupersededError:
    return SupersededError(
        f"setup {number} is not wanted any more: setup {newest or 0:.0f} has begun", hint="nothing is to be done"
    )
