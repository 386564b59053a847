"""The job queue by SQL transactions: nothing but the task database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from eas.model import ClaimedAttempt, QueuedAttempt
from eas.queues.base import AttemptStore, JobQueue
from eas.wakeups import Listener

FIRST_WAIT = 0.01
LONGEST_WAIT = 2.0
"""How long an idle worker waits between two looks [s]: doubled each time that it finds nothing.

On this machine a wake-up ends the wait. What another machine has queued, and a retry that comes due, is
found by a look: soon after the worker was busy, later with this delay.
"""
CHANNEL = "queue"


class _Idle:
    """A thread that has nothing to do: how it is woken, and when it looks again [monotonic time, s]."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.next_look = 0.0
        self._wait = FIRST_WAIT

    def found(self) -> None:
        """Note that a look found something: look often again."""
        self.next_look, self._wait = 0.0, FIRST_WAIT

    def found_nothing(self, *, woken: bool) -> None:
        """Note that a look found nothing; after a wake-up there soon may be something."""
        self._wait = FIRST_WAIT if woken else min(self._wait * 2, LONGEST_WAIT)
        self.next_look = time.monotonic() + self._wait


class SQLQueue(JobQueue):
    """Asks SQL: at a wake-up, and at growing intervals while there is nothing to do."""

    def __init__(self, store: AttemptStore) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._unused: list[_Idle] = []
        self._listeners: set[Listener] = set()
        self._wakes = 0

    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Wake who waits on this machine; SQL holds the rest already."""
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
                if woken or time.monotonic() >= idle.next_look:
                    if claimed := self.store.claim_next(worker_id, task_types, limit):
                        idle.found()
                        return claimed
                    idle.found_nothing(woken=woken)
                now = time.monotonic()
                if now >= deadline or self._wakes != wakes:
                    return []
                woken = idle.listener.wait(min(deadline, idle.next_look) - now)

    def wake(self) -> None:
        """End the wait of each ``claim``."""
        self._wakes += 1
        self._wake_those(lambda _: True)

    def sweep(self) -> int:
        """Nothing can be lost here."""
        return 0

    def close(self) -> None:
        """Close the sockets."""
        with self._lock:
            for listener in self._listeners:
                listener.close()
            self._listeners.clear()
            self._unused.clear()

    @contextmanager
    def _idle(self) -> Iterator[_Idle]:
        """Lend what a waiting thread needs."""
        with self._lock:
            if self._unused:
                idle = self._unused.pop()
            else:
                idle = _Idle(self.store.wakeups.listen(CHANNEL))
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
