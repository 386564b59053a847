"""The task database as a job queue sees it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from eas.model import QueuedAttempt
from eas.states import AttemptState
from eas.taskdb import attempts, tables
from eas.taskdb.engine import TaskDatabase


class SQLAttemptStore:
    """Claims attempts for queues, each call in one short transaction."""

    def __init__(self, database: TaskDatabase) -> None:
        self.database = database

    def claim_next(self, worker_id: str, task_types: Sequence[str], limit: int) -> list[int]:
        """Claim the next queued attempts by priority, then age; see ``eas.queues.base``."""
        now = attempts.now()
        # Most looks of an idle worker find nothing: they must not take sqlite's one write lock.
        with self.database.read() as connection:
            if not attempts.next_queued(connection, task_types, 1, now):
                return []

        def claim(connection: Connection) -> list[int]:
            found = attempts.next_queued(connection, task_types, limit, now)
            return attempts.take(connection, worker_id, found, now) if found else []

        return self.database.transact(claim)

    def claim_these(self, worker_id: str, attempt_ids: Sequence[int]) -> list[int]:
        """Claim those of ``attempt_ids`` that are queued and due."""
        now = attempts.now()
        return self.database.transact(lambda connection: attempts.take(connection, worker_id, attempt_ids, now))

    def queued(self) -> list[QueuedAttempt]:
        """Return all queued attempts, oldest first."""
        table = tables.attempts
        query = select(table.c.id, table.c.task_type, table.c.priority, table.c.available_at)
        with self.database.read() as connection:
            rows = connection.execute(query.where(table.c.state == AttemptState.QUEUED).order_by(table.c.id))
            return [QueuedAttempt(*row) for row in rows]

    def depths(self) -> dict[str, int]:
        """Return how many attempts are queued, by task type."""
        with self.database.read() as connection:
            return attempts.depths(connection)
