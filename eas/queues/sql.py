"""The job queue by SQL transactions: nothing but the task database."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from eas.model import QueuedAttempt
from eas.queues.base import AttemptStore, JobQueue

FIRST_WAIT = 0.01
LONGEST_WAIT = 0.1
"""How long an idle worker waits between two looks [s]; a look is one read of an index."""


class SQLQueue(JobQueue):
    """Asks SQL, at growing intervals while there is nothing to do."""

    def __init__(self, store: AttemptStore) -> None:
        self.store = store
        self._woken = threading.Event()

    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Wake who waits in this process; SQL holds the rest already."""
        if messages:
            self._woken.set()

    def claim(self, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[int]:
        """Claim the next attempts; see the base class."""
        deadline = time.monotonic() + timeout
        wait = FIRST_WAIT
        while True:
            self._woken.clear()
            claimed = self.store.claim_next(worker_id, task_types, limit)
            left = deadline - time.monotonic()
            if claimed or left <= 0:
                return claimed
            wait = FIRST_WAIT if self._woken.wait(min(wait, left)) else min(wait * 2, LONGEST_WAIT)

    def wake(self) -> None:
        """End the wait of a ``claim`` early."""
        self._woken.set()

    def sweep(self) -> int:
        """Nothing can be lost here."""
        return 0
