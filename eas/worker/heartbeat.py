"""A worker's signs of life, and its share of the housekeeping: two threads beside the one that works."""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Callable, Set
from types import TracebackType
from typing import Self

from eas.control import reaper
from eas.filestore import FileStore
from eas.queues.base import JobQueue
from eas.taskdb import attempts
from eas.taskdb.engine import TaskDatabase

LOG = logging.getLogger("eas.worker")

LONGEST_INTERVAL = 30.0
"""How often a worker writes a heartbeat, at least [s]."""
GLANCE_INTERVAL = 5.0
"""How often a worker that runs something looks whether that was cancelled, at least [s]."""


class Heartbeat:
    """Writes heartbeats and keeps house for as long as the block lasts.

    Parameters
    ----------
    store:
        Where housekeeping shows what killed workers made.
    lease:
        Heartbeat age that makes an attempt stalled [s]; heartbeats come five times as often.
    held:
        What the worker believes to hold; only ever added to after the claim is committed.
    let_go:
        Called for each attempt that is not the worker's any more: stalled, or cancelled.
    """

    def __init__(
        self,
        database: TaskDatabase,
        queue: JobQueue,
        worker_id: str,
        *,
        store: FileStore,
        lease: float,
        held: Set[int],
        let_go: Callable[[int], None],
    ) -> None:
        self.database = database
        self.queue = queue
        self.worker_id = worker_id
        self.store = store
        self.lease = lease
        self._held = held
        self._let_go = let_go
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._keep_house, name="housekeeping", daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(5.0)

    def _beat(self) -> None:
        interval = max(0.2, min(self.lease / 5, LONGEST_INTERVAL))
        glances = math.ceil(interval / GLANCE_INTERVAL)
        for number in itertools.count(1):
            if self._ended.wait(interval / glances):
                return
            try:
                if number % glances == 0:
                    self._one_beat()
                elif self._held:
                    self._glance()
            except Exception as error:
                # A database that is away for a moment must not end the worker: the lease decides.
                LOG.warning("no heartbeat: %s", error)

    def _one_beat(self) -> None:
        held = set(self._held)
        # The time of the try that succeeds: the database may have been away for a while.
        ours = self.database.transact(lambda c: attempts.keep_alive(c, self.worker_id, self.database.now()))
        self._lose(held - ours)

    def _glance(self) -> None:
        """Look, between heartbeats, whether what is held is still ours."""
        held = set(self._held)
        self._lose(held - self.database.fetch(lambda c: attempts.held_by(c, self.worker_id)))

    def _lose(self, lost: set[int]) -> None:
        for attempt_id in lost:
            if attempt_id in self._held:
                self._let_go(attempt_id)

    def _keep_house(self) -> None:
        """Reap and sweep, apart from the heartbeats: a broker that is away must not hold those up."""
        while not self._ended.wait(min(self.lease / 2, reaper.LONGEST_INTERVAL)):
            try:
                reaper.tend(self.database, self.queue, self.lease, self.store)
            except Exception as error:
                LOG.warning("no housekeeping: %s", error)
