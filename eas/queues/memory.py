"""A job queue in this process's memory: for tests of all that stands on a queue, and single processes.

It loses its messages with the process, as a broker may; ``sweep`` finds them again in SQL.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Sequence

from eas.model import QueuedAttempt
from eas.queues.base import AttemptStore, JobQueue


class MemoryQueue(JobQueue):
    """One heap of messages for each task type, by priority, then age."""

    def __init__(self, store: AttemptStore) -> None:
        self.store = store
        self._heaps: dict[str, list[tuple[int, int, float]]] = {}
        self._held: set[int] = set()
        self._changed = threading.Condition()

    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Add messages that are not held yet."""
        with self._changed:
            for message in messages:
                if message.attempt_id not in self._held:
                    self._held.add(message.attempt_id)
                    heap = self._heaps.setdefault(message.task_type, [])
                    heapq.heappush(heap, (message.priority, message.attempt_id, message.available_at))
            self._changed.notify_all()

    def claim(self, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[int]:
        """Claim the next attempts; see the base class."""
        deadline = time.monotonic() + timeout
        while True:
            messages = self._pop(task_types, limit, deadline)
            if not messages:
                return []
            claimed = self.store.claim_these(worker_id, [message.attempt_id for message in messages])
            if claimed:
                return claimed

    def _pop(self, task_types: Sequence[str], limit: int, deadline: float) -> list[QueuedAttempt]:
        with self._changed:
            while True:
                found = self._due(task_types, limit)
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                # A retry may come due without anybody telling: look again soon.
                self._changed.wait(min(left, 0.1))

    def _due(self, task_types: Sequence[str], limit: int) -> list[QueuedAttempt]:
        """Take the first messages that are due off the heaps."""
        now = time.time()
        heads = [(entry, task_type) for task_type in task_types for entry in self._heaps.get(task_type, [])]
        due = sorted((entry, task_type) for entry, task_type in heads if entry[2] <= now)[:limit]
        for entry, task_type in due:
            heap = self._heaps[task_type]
            if heap[0] == entry:
                heapq.heappop(heap)
            else:
                heap.remove(entry)
                heapq.heapify(heap)
            self._held.discard(entry[1])
        return [QueuedAttempt(entry[1], task_type, entry[0], entry[2]) for entry, task_type in due]

    def wake(self) -> None:
        """End the wait of a ``claim`` soon."""
        with self._changed:
            self._changed.notify_all()

    def sweep(self) -> int:
        """Publish again what SQL says is queued and nobody here holds."""
        lost = [message for message in self.store.queued() if message.attempt_id not in self._held]
        self.publish(lost)
        return len(lost)
