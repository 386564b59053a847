"""The task database as a job queue sees it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from eas.model import ClaimedAttempt, QueuedAttempt
from eas.states import AttemptState
from eas.taskdb import attempts, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.wakeups import Wakeups


class AttemptClaims:
    """Claims attempts for queues, each call in one short transaction."""

    def __init__(self, database: TaskDatabase) -> None:
        self.database = database

    @property
    def wakeups(self) -> Wakeups:
        """Wake-ups between the processes of this machine."""
        return self.database.wakeups

    def now(self) -> float:
        """Return the time that due times are measured by [Unix time, s]."""
        return self.database.now()

    def claim_next(self, worker_id: str, task_types: Sequence[str], limit: int) -> list[ClaimedAttempt]:
        """Claim the next queued attempts by priority, then age; see ``eas.queues.base``.

        One transaction claims them and records which versions they read: where it is lost, nothing was claimed.
        """
        now = self.database.now()
        # Most looks of an idle worker find nothing: they must not begin to write, least of all
        # where there is one write lock for all.
        seen = self.database.fetch(lambda connection: attempts.next_queued(connection, task_types, limit, now))
        if not seen:
            return []
        return self.database.transact(lambda connection: _claim(connection, worker_id, seen, limit, now))

    def queued(self) -> list[QueuedAttempt]:
        """Return all queued attempts but those of paused task types, oldest first."""
        table = tables.attempts
        query = select(table.c.id, table.c.task_type, table.c.priority, table.c.available_at)

        def look(connection: Connection) -> list[QueuedAttempt]:
            stopped = attempts.paused(connection)
            rows = connection.execute(query.where(table.c.state == AttemptState.QUEUED).order_by(table.c.id))
            return [QueuedAttempt(*row) for row in rows if row.task_type not in stopped]

        return self.database.fetch(look)

    def still_queued(self, attempt_ids: Sequence[int]) -> set[int]:
        """Return those of ``attempt_ids`` that are queued, due or not."""
        rows = self.database.fetch(lambda connection: _rows(connection, attempt_ids))
        return {row.id for row in rows if row.state == AttemptState.QUEUED}

    def due(self) -> dict[str, int]:
        """Return how many attempts could be claimed now, by task type."""
        now = self.database.now()

        def look(connection: Connection) -> dict[str, int]:
            stopped = attempts.paused(connection)
            counts = attempts.depths(connection, now)
            return {task_type: count for task_type, count in counts.items() if task_type not in stopped}

        return self.database.fetch(look)

    def first_type(self, task_types: Sequence[str]) -> str | None:
        """Return the task type of the attempt that is to be claimed next."""
        now = self.database.now()
        first = self.database.fetch(lambda connection: attempts.next_queued(connection, task_types, 1, now))
        return str(first[0].task_type) if first else None

    def depths(self) -> dict[str, int]:
        """Return how many attempts are queued, by task type."""
        return self.database.fetch(attempts.depths)


def _claim(
    connection: Connection, worker_id: str, seen: Sequence[AnyRow], limit: int, now: float
) -> list[ClaimedAttempt]:
    free = attempts.lock(connection, [row.id for row in seen], now)
    if len(free) < len(seen):
        # Others were quicker: take what comes after, of the same types.
        task_types = dict.fromkeys(row.task_type for row in seen)
        held = {each.attempt_id for each in free}
        more = attempts.lock_next(connection, task_types, limit, now)
        free += [each for each in more if each.attempt_id not in held]
    return attempts.describe(connection, attempts.claim(connection, worker_id, sorted(free)[:limit], now))


def _rows(connection: Connection, attempt_ids: Sequence[int]) -> list[AnyRow]:
    table = tables.attempts
    found: list[AnyRow] = []
    for part in chunks(attempt_ids):
        query = select(table.c.id, table.c.task_type, table.c.state).where(table.c.id.in_(part))
        found += connection.execute(query).all()
    return found
