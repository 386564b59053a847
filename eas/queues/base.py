"""What a job queue is.

SQL says which attempts are queued. A queue finds them for a worker: the SQL queue by asking SQL,
others by messages that carry an attempt's id. A message is a hint: it may be lost, come twice or
come late, and the claim in SQL decides. What every queue must do is written down in
``tests/contract``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

from eas.model import ClaimedAttempt, QueuedAttempt
from eas.wakeups import Wakeups


class AttemptStore(Protocol):
    """The task database, as far as a queue needs it. ``eas.taskdb`` provides it."""

    @property
    def wakeups(self) -> Wakeups:
        """Wake-ups between the processes of this machine that use this task database."""

    def claim_next(self, worker_id: str, task_types: Sequence[str], limit: int) -> list[ClaimedAttempt]:
        """Claim the next queued attempts by priority, then age."""

    def now(self) -> float:
        """Return the time that due times are measured by [Unix time, s]."""

    def queued(self) -> list[QueuedAttempt]:
        """Return all that is queued, but not what an operator paused."""

    def still_queued(self, attempt_ids: Sequence[int]) -> set[int]:
        """Return those of ``attempt_ids`` that are queued, due or not."""

    def depths(self) -> dict[str, int]:
        """Return how many attempts are queued, by task type."""

    def due(self) -> dict[str, int]:
        """Return how many attempts could be claimed now, by task type."""

    def first_type(self, task_types: Sequence[str]) -> str | None:
        """Return the task type of the attempt that is to be claimed next."""


class JobQueue(ABC):
    """Hands queued attempts to workers. One object serves one process; its methods may be called by any thread."""

    store: AttemptStore

    @abstractmethod
    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Tell of attempts that are queued in SQL (committed). May be repeated."""

    @abstractmethod
    def claim(self, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[ClaimedAttempt]:
        """Claim up to ``limit`` attempts for a worker, waiting at most ``timeout`` seconds for the first.

        Each attempt is given to one worker only, also where several ask at once. Returns them in the order
        to run them: by priority, then age.
        """

    @abstractmethod
    def sweep(self) -> int:
        """Publish again what SQL says is queued, but messages may have been lost; return how many."""

    def purge(self, task_types: Sequence[str]) -> None:  # noqa: B027 - nor has every queue messages
        """Drop those messages of these types that this process holds and whose attempts are no longer queued.

        For operators who took them off the queue in SQL (committed): those left over find nothing.
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
        return self.store.first_type(task_types)

    def wake(self) -> None:  # noqa: B027 - a queue that never waits has nothing to wake
        """End a ``claim`` that waits in another thread of this process, soon."""

    def close(self) -> None:  # noqa: B027 - nor has every queue something to close
        """Close connections."""
