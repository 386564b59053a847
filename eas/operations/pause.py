"""Pause queues: workers claim nothing from them, and running tasks continue."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from eas.errors import ServiceError, UnknownTaskTypeError
from eas.names import closest_names
from eas.queues.base import JobQueue
from eas.taskdb import queue_settings, tables
from eas.taskdb.engine import TaskDatabase

LOG = logging.getLogger("eas.pause")


def pause(database: TaskDatabase, task_types: Iterable[str] | None = None) -> list[str]:
    """Pause the queues of these task types, or all queues; return the task types that were not paused before.

    Workers claim no more attempts of these types; an attempt that is being claimed at this moment may still run.
    New attempts are queued and wait. Raises UnknownTaskTypeError.
    """
    wanted = None if task_types is None else list(task_types)
    now = database.now()

    def work(connection: Connection) -> list[str]:
        return queue_settings.pause(connection, _known(connection, wanted), now)

    return database.transact(work)


def resume(database: TaskDatabase, queue: JobQueue, task_types: Iterable[str] | None = None) -> list[str]:
    """Resume the queues of these task types, or all; return those that had been paused.

    Workers are notified of queued attempts at once. Raises UnknownTaskTypeError.
    """
    wanted = None if task_types is None else list(task_types)

    def work(connection: Connection) -> list[str]:
        return queue_settings.resume(connection, _known(connection, wanted))

    resumed = database.transact(work)
    if resumed:
        try:
            queue.republish_lost()
        except ServiceError as error:
            LOG.warning(
                "workers were not notified; they find queued attempts after the next maintenance pass: %s", error.what
            )
    return resumed


def paused(database: TaskDatabase) -> dict[str, float]:
    """Return the task types whose queue is paused, and since when [Unix time, s]."""
    return database.fetch(queue_settings.paused_since)


def _known(connection: Connection, wanted: Collection[str] | None) -> list[str]:
    kind = tables.task_types
    known = list(connection.execute(select(kind.c.name).where(~kind.c.control).order_by(kind.c.name)).scalars())
    if wanted is None:
        return known
    for name in wanted:
        if name not in known:
            near = closest_names(name, known, cutoff=0.5) or known
            raise UnknownTaskTypeError(f"there is no queue of the task type {name!r}", hint=f"e.g. {', '.join(near)}")
    return sorted(set(wanted))
