"""A job queue in this process's memory: for tests of all that stands on a queue, and single processes.

It loses its messages with the process, as a broker may; ``republish_lost`` finds them in the task database.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Sequence

from eas.model import ClaimedAttempt, QueuedAttempt
from eas.queues.base import AttemptStore, JobQueue
from eas.queues.delayed import DelayedMessages
from eas.taskdb import attempt_claims
from tests.contract.chains import claim_these

MAX_WAIT = 0.1
"""How long a claim sleeps at most before it looks again for what came due [s]."""


class MemoryQueue(JobQueue):
    """For each task type a heap of what is due, by priority, then age; and one heap of what is not."""

    def __init__(self, store: AttemptStore) -> None:
        self.store = store
        self._due: dict[str, list[tuple[int, int, float]]] = {}
        self._later = DelayedMessages()
        self._held: set[int] = set()
        self._changed = threading.Condition()

    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Add messages that are not held yet."""
        now = self.store.now()
        with self._changed:
            for message in messages:
                if message.attempt_id not in self._held:
                    self._held.add(message.attempt_id)
                    self._add(message, now)
            self._changed.notify_all()

    def _add(self, message: QueuedAttempt, now: float) -> None:
        if message.available_at > now:
            self._later.add(message)
        else:
            heap = self._due.setdefault(message.task_type, [])
            heapq.heappush(heap, (message.priority, message.attempt_id, message.available_at))

    def claim(self, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[ClaimedAttempt]:
        """Claim the next attempts; see the base class."""
        deadline = time.monotonic() + timeout
        while True:
            messages = self._pop(task_types, limit, deadline)
            if not messages:
                return []
            try:
                claimed = claim_these(self.store.database, worker_id, [message.attempt_id for message in messages])
            except BaseException:
                self.publish(messages)
                raise
            if claimed:
                return self._describe(claimed)

    def _describe(self, attempt_ids: Sequence[int]) -> list[ClaimedAttempt]:
        return self.store.database.transact(lambda connection: attempt_claims.load_claimed(connection, attempt_ids))

    def _pop(self, task_types: Sequence[str], limit: int, deadline: float) -> list[QueuedAttempt]:
        """Take the first messages of these types, waiting for one until the deadline."""
        with self._changed:
            while True:
                now = self.store.now()
                for message in self._later.take_due(now):
                    self._add(message, now)
                found = self._first(task_types, limit)
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                self._changed.wait(min(left, MAX_WAIT))

    def _first(self, task_types: Sequence[str], limit: int) -> list[QueuedAttempt]:
        """Take the first due messages off the heaps: as many steps as messages and types."""
        heads = [(self._due[each][0], each) for each in set(task_types) if self._due.get(each)]
        heapq.heapify(heads)
        found: list[QueuedAttempt] = []
        while heads and len(found) < limit:
            (priority, attempt_id, available_at), task_type = heads[0]
            heap = self._due[task_type]
            heapq.heappop(heap)
            self._held.discard(attempt_id)
            found.append(QueuedAttempt(attempt_id, task_type, priority, available_at))
            if heap:
                heapq.heapreplace(heads, (heap[0], task_type))
            else:
                heapq.heappop(heads)
        return found

    def purge(self, task_types: Sequence[str]) -> None:
        """Drop the messages about what is not queued any more."""
        with self._changed:
            for task_type in task_types:
                heap = self._due.get(task_type, [])
                known = self.store.still_queued([attempt_id for _, attempt_id, _ in heap])
                self._held.difference_update(attempt_id for _, attempt_id, _ in heap if attempt_id not in known)
                heap[:] = [each for each in heap if each[1] in known]
                heapq.heapify(heap)

    def wake(self) -> None:
        """End the wait of a ``claim`` soon."""
        with self._changed:
            self._changed.notify_all()

    def republish_lost(self) -> int:
        """Publish again what SQL says is queued and not held here."""
        lost = [message for message in self.store.queued() if message.attempt_id not in self._held]
        self.publish(lost)
        return len(lost)
