"""The job queue without a broker: workers poll the task database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from eas.model import ClaimedAttempt, QueuedAttempt
from eas.queues.base import AttemptStore, JobQueue
from eas.wakeups import Listener

MIN_POLL_INTERVAL = 0.01
MAX_POLL_INTERVAL = 2.0
"""Minimum and maximum wait [s] between two polls of an idle worker; doubled after each poll without result.

Processes of this machine end the wait by a wake-up. Attempts queued on other machines, and retries that become
due, are found by polling: quickly after the worker was busy, otherwise with up to this delay.
"""
CHANNEL = "queue"


class _PollState:
    """State of a waiting thread: its listener, and the time of its next poll [monotonic time, s]."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.next_poll = 0.0
        self._wait = MIN_POLL_INTERVAL

    def record_success(self) -> None:
        """Record a successful poll: poll again at once, then at short intervals."""
        self.next_poll, self._wait = 0.0, MIN_POLL_INTERVAL

    def record_empty(self, *, woken: bool) -> None:
        """Record a poll without result; after a wake-up poll again soon."""
        self._wait = MIN_POLL_INTERVAL if woken else min(self._wait * 2, MAX_POLL_INTERVAL)
        self.next_poll = time.monotonic() + self._wait


class SQLQueue(JobQueue):
    """Polls the task database: at a wake-up, and otherwise at growing intervals."""

    def __init__(self, store: AttemptStore) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._unused: list[_PollState] = []
        self._listeners: set[Listener] = set()
        self._wakes = 0

    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Wake waiting workers on this machine; the attempts themselves are in the database."""
        if messages:
            self.store.wakeups.notify(CHANNEL)
            self._wake_those(lambda listener: listener.path is None)

    def claim(self, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[ClaimedAttempt]:
        """Claim the next attempts; see the base class."""
        if timeout <= 0:
            return self.store.claim_next(worker_id, task_types, limit)
        deadline, wakes = time.monotonic() + timeout, self._wakes
        with self._idle() as idle:
            woken = idle.listener.clear()
            while True:
                if woken or time.monotonic() >= idle.next_poll:
                    if claimed := self.store.claim_next(worker_id, task_types, limit):
                        idle.record_success()
                        return claimed
                    idle.record_empty(woken=woken)
                now = time.monotonic()
                if now >= deadline or self._wakes != wakes:
                    return []
                woken = idle.listener.wait(min(deadline, idle.next_poll) - now)

    def wake(self) -> None:
        """End the wait of each ``claim``."""
        self._wakes += 1
        self._wake_those(lambda _: True)

    def republish_lost(self) -> int:
        """Return 0: there are no messages that could be lost."""
        return 0

    def close(self) -> None:
        """Close the sockets."""
        with self._lock:
            for listener in self._listeners:
                listener.close()
            self._listeners.clear()
            self._unused.clear()

    @contextmanager
    def _idle(self) -> Iterator[_PollState]:
        """Provide the state of a waiting thread; it is reused by later calls."""
        with self._lock:
            if self._unused:
                idle = self._unused.pop()
            else:
                idle = _PollState(self.store.wakeups.listen(CHANNEL))
                self._listeners.add(idle.listener)
        try:
            yield idle
        finally:
            with self._lock:
                self._unused.append(idle)

    def _wake_those(self, which: Callable[[Listener], bool]) -> None:
        with self._lock:
            woken = [listener for listener in self._listeners if which(listener)]
        for listener in woken:
            listener.wake()
