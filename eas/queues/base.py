"""The interface of job queues.

The task database records which attempts are queued. A queue helps workers to find them: the SQL queue by
polling the database, others by messages that carry an attempt's id. Messages are only notifications: they may
be lost, duplicated or late, and the claim in the database decides. ``tests/contract`` specifies the behaviour
of every queue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

from eas.model import ClaimedAttempt, QueuedAttempt
from eas.wakeups import Wakeups


class AttemptStore(Protocol):
    """The interface of the task database that queues use. ``eas.taskdb`` implements it."""

    @property
    def wakeups(self) -> Wakeups:
        """Wake-ups between the processes of this machine that use this task database."""

    def claim_next(self, worker_id: str, task_types: Sequence[str], limit: int) -> list[ClaimedAttempt]:
        """Claim the next queued attempts by priority, then age."""

    def now(self) -> float:
        """Return the database's time, to which due times are compared [Unix time, s]."""

    def queued(self) -> list[QueuedAttempt]:
        """Return all queued attempts, except those of paused queues."""

    def still_queued(self, attempt_ids: Sequence[int]) -> set[int]:
        """Return those of ``attempt_ids`` that are queued, due or not."""

    def depths(self) -> dict[str, int]:
        """Return how many attempts are queued, by task type."""

    def due(self) -> dict[str, int]:
        """Return how many attempts could be claimed now, by task type."""

    def next_task_type(self, task_types: Sequence[str]) -> str | None:
        """Return the task type of the attempt that would be claimed next."""


class JobQueue(ABC):
    """Hands queued attempts to workers. One object serves one process; its methods may be called by any thread."""

    store: AttemptStore

    @abstractmethod
    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Notify workers of attempts whose queueing has been committed. May be called repeatedly."""

    @abstractmethod
    def claim(self, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[ClaimedAttempt]:
        """Claim up to ``limit`` attempts for a worker, waiting at most ``timeout`` seconds for the first.

        Each attempt is assigned to only one worker, also under concurrent calls. Returns the attempts in the
        order in which to run them: by priority, then age.
        """

    @abstractmethod
    def republish_lost(self) -> int:
        """Publish messages again for queued attempts whose messages may have been lost; return their number."""

    def purge(self, task_types: Sequence[str]) -> None:  # noqa: B027 - nor has every queue messages
        """Drop those messages of these types that this process holds and whose attempts are no longer queued.

        Call it after attempts were withdrawn (committed). Messages left elsewhere are dropped when claimed.
        """

    def declare(self, task_types: Iterable[str]) -> int:
        """Declare what the queue needs for these task types; return how many queues were declared.

        Raises ServiceError where a service that holds them cannot be reached.
        """
        return 0

    def message_counts(self, task_types: Iterable[str]) -> dict[str, int] | None:
        """Return how many messages the broker holds, by task type; None for a queue without messages."""
        return None

    def depths(self) -> dict[str, int]:
        """Return how many attempts are queued, by task type."""
        return self.store.depths()

    def most_urgent(self, task_types: Sequence[str]) -> str | None:
        """Return the task type of the attempt to claim next; None where there is none."""
        return self.store.next_task_type(task_types)

    def wake(self) -> None:  # noqa: B027 - a queue that never waits has nothing to wake
        """Interrupt the wait of ``claim`` in other threads of this process."""

    def close(self) -> None:  # noqa: B027 - nor has every queue something to close
        """Close connections."""
