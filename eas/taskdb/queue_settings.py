"""Settings of queues, by task type: whether an operator has paused them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from eas.taskdb import tables

SETTINGS = tables.queue_settings


def paused_since(connection: Connection) -> dict[str, float]:
    """Return the task types whose queue is paused, and since when [Unix time, s]."""
    query = select(SETTINGS).where(SETTINGS.c.paused_at.is_not(None)).order_by(SETTINGS.c.task_type)
    return {row.task_type: row.paused_at for row in connection.execute(query)}


def pause(connection: Connection, task_types: Sequence[str], now: float) -> list[str]:
    """Pause queues; return those that were not paused before."""
    already = paused_since(connection)
    return [each for each in task_types if each not in already and _pause(connection, each, now)]


def _pause(connection: Connection, task_type: str, now: float) -> bool:
    running = update(SETTINGS).where(SETTINGS.c.task_type == task_type, SETTINGS.c.paused_at.is_(None))
    if connection.execute(running.values(paused_at=now)).rowcount:
        return True
    try:
        with connection.begin_nested():
            connection.execute(insert(SETTINGS).values(task_type=task_type, paused_at=now))
    except IntegrityError:
        return False  # another process was quicker
    return True


def resume(connection: Connection, task_types: Sequence[str]) -> list[str]:
    """Resume queues; return those that had been paused."""
    already = paused_since(connection)
    held = [each for each in task_types if each in already]
    if held:
        connection.execute(delete(SETTINGS).where(SETTINGS.c.task_type.in_(held)))
    return held
