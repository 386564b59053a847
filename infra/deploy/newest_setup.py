"""Supersedes older setups: each has a number, and exits if the task database has a higher one.

An abandoned setup may still run when the next one starts, and would overwrite the newer settings.
"""

from __future__ import annotations

from sqlalchemy import Connection

from eas.errors import RequestError
from eas.taskdb import periodic_locks
from eas.taskdb.engine import TaskDatabase

NAME = "setup"
"""Row of the table of periodic work that holds the number of the newest setup."""


class SupersededError(RequestError):
    """A later `eas deploy` has begun its setup."""


def claim(connection: Connection, number: int) -> None:
    """Record that the setup of this number runs. Raises SupersededError if a newer one has begun."""
    while (newest := _newest(connection)) is None or newest <= number:
        if periodic_locks.compare_and_set(connection, NAME, newest, float(number)):
            return
    raise _superseded(number, newest)


def require_newest(database: TaskDatabase, number: int | None) -> None:
    """Raise SupersededError if a newer setup has begun; a setup without a number is never superseded."""
    newest = database.fetch(_newest)
    if number is not None and newest is not None and newest > number:
        raise _superseded(number, newest)


def _newest(connection: Connection) -> float | None:
    return periodic_locks.last_time(connection, NAME)


def _superseded(number: int, newest: float) -> SupersededError:
    return SupersededError(
        f"setup {number} is superseded by setup {newest:.0f}, which has begun", hint="no action is needed"
    )
