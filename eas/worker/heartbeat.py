"""Two background threads of a worker: one writes heartbeats, the other runs maintenance."""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Callable, Set
from types import TracebackType
from typing import Self

from eas.filestore import FileStore
from eas.maintenance import reaper
from eas.queues.base import JobQueue
from eas.taskdb import attempts
from eas.taskdb.engine import TaskDatabase

LOG = logging.getLogger("eas.worker")

MAX_HEARTBEAT_INTERVAL = 30.0
"""Maximum time [s] between two heartbeats of a worker."""
CANCELLATION_CHECK_INTERVAL = 5.0
"""Maximum time [s] between two checks of a busy worker whether its attempts were cancelled."""


class Heartbeat:
    """Writes heartbeats and runs maintenance for as long as the block lasts.

    Parameters
    ----------
    store:
        Where maintenance publishes the products of killed workers.
    lease:
        Heartbeat age that makes an attempt stalled [s]; heartbeats come five times as often.
    held:
        Ids of the attempts that the worker holds. An id is added only after its claim is committed:
        otherwise a heartbeat would report the attempt as lost.
    on_lost:
        Called for each attempt that the worker has lost because it was cancelled or counted as stalled.
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
        on_lost: Callable[[int], None],
    ) -> None:
        self.database = database
        self.queue = queue
        self.worker_id = worker_id
        self.store = store
        self.lease = lease
        self._held = held
        self._on_lost = on_lost
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._run_maintenance, name="maintenance", daemon=True),
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
        interval = max(0.2, min(self.lease / 5, MAX_HEARTBEAT_INTERVAL))
        glances = math.ceil(interval / CANCELLATION_CHECK_INTERVAL)
        for number in itertools.count(1):
            if self._ended.wait(interval / glances):
                return
            try:
                if number % glances == 0:
                    self._write_heartbeat()
                elif self._held:
                    self._check_held()
            except Exception as error:
                # A short outage of the database must not stop the worker: its leases stay valid for a while.
                LOG.warning("cannot write a heartbeat: %s", error)

    def _write_heartbeat(self) -> None:
        held = set(self._held)
        # now() is evaluated inside the transaction: a repeated try must write its own time, not that of the first.
        kept = self.database.transact(lambda c: attempts.record_heartbeat(c, self.worker_id, self.database.now()))
        self._lose(held - kept)

    def _check_held(self) -> None:
        """Check, between heartbeats, that the held attempts still belong to this worker."""
        held = set(self._held)
        self._lose(held - self.database.fetch(lambda c: attempts.held_by(c, self.worker_id)))

    def _lose(self, lost: set[int]) -> None:
        for attempt_id in lost:
            if attempt_id in self._held:
                self._on_lost(attempt_id)

    def _run_maintenance(self) -> None:
        """Run maintenance in a separate thread: a broker that does not answer must not delay heartbeats."""
        while not self._ended.wait(min(self.lease / 2, reaper.MAX_REAP_INTERVAL)):
            try:
                reaper.run_due(self.database, self.queue, self.lease, self.store)
            except Exception as error:
                LOG.warning("maintenance was not run: %s", error)
