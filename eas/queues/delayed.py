"""Messages about attempts that are not due yet."""

from __future__ import annotations

import heapq

from eas.model import QueuedAttempt


class DelayedMessages:
    """A heap of messages by due time, at most one for each attempt. Not thread-safe."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, QueuedAttempt]] = []
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self._heap)

    def __contains__(self, attempt_id: int) -> bool:
        return attempt_id in self._ids

    def add(self, message: QueuedAttempt) -> None:
        """Keep a message until it is due."""
        if message.attempt_id not in self._ids:
            self._ids.add(message.attempt_id)
            heapq.heappush(self._heap, (message.available_at, message.attempt_id, message))

    def take_due(self, now: float) -> list[QueuedAttempt]:
        """Remove and return what is due by ``now`` [Unix time, s]."""
        due: list[QueuedAttempt] = []
        while self._heap and self._heap[0][0] <= now:
            message = heapq.heappop(self._heap)[2]
            self._ids.discard(message.attempt_id)
            due.append(message)
        return due

    def next_due(self) -> float | None:
        """Return when the next one is due [Unix time, s]; None where there is none."""
        return self._heap[0][0] if self._heap else None
