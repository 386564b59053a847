"""Commits the results of attempts to the task database, several at a time, while the next tasks run.

With a database server, a separate thread commits. With sqlite the worker's main thread does: a commit takes
microseconds, and sqlite allows one writer at a time, so that a second thread would only wait.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from eas.filestore import FileStore
from eas.model import AttemptResult, ClaimedAttempt
from eas.queues.base import JobQueue
from eas.states import AttemptState
from eas.taskdb import results
from eas.taskdb.engine import TaskDatabase
from eas.wakeups import channel_of

LOG = logging.getLogger("eas.worker")

FLUSH_SECONDS = 0.05
"""Maximum time [s] that a result waits for others to share its commit."""

Results = Sequence[tuple[ClaimedAttempt, AttemptResult]]


@dataclass
class RunStats:
    """Numbers of attempts *done* and *failed*, and of results dropped because the claim was *lost*."""

    done: int = 0
    failed: int = 0
    lost: int = 0


class Recorder:
    """Records a worker's results. All methods are for the thread that runs the tasks.

    Parameters
    ----------
    held:
        Ids of the attempts that the worker holds; those whose result is committed are removed.
    wake:
        Called by the commit thread when a commit has ended; the main thread must then call ``poll``.
    """

    def __init__(
        self,
        database: TaskDatabase,
        queue: JobQueue,
        store: FileStore,
        worker_id: str,
        *,
        held: set[int],
        wake: Callable[[], None],
    ) -> None:
        self.database = database
        self.queue = queue
        self.store = store
        self.worker_id = worker_id
        self.stats = RunStats()
        self._held = held
        self._wake = wake
        self._waiting: list[tuple[ClaimedAttempt, AttemptResult]] = []
        self._due = 0.0
        self._committing: Results = ()
        self._commit: Future[results.ClosedAttempts] | None = None
        self._thread = None if database.is_sqlite else ThreadPoolExecutor(1, thread_name_prefix="results")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def add(self, attempt: ClaimedAttempt, result: AttemptResult) -> None:
        """Add a result to the next commit."""
        if not self._waiting:
            self._due = max(self._due, time.monotonic())
        self._waiting.append((attempt, result))

    def poll(self) -> float:
        """Commit results that have waited long enough; return the seconds until the next call, or infinity."""
        if self._commit is not None:
            if not self._commit.done():
                return math.inf  # ``wake`` is called when the commit ends
            self._finish_commit()
        if not self._waiting:
            return math.inf
        now = time.monotonic()
        if now < self._due:
            return self._due - now
        self._begin()
        return 0.0 if self._commit is None else math.inf

    def finish(self) -> None:
        """Commit all waiting results."""
        if self._commit is not None:
            self._finish_commit()
        if self._waiting:
            self._committing, self._waiting = self._waiting, []
            self._after_commit(self._write(self._committing))

    def _begin(self) -> None:
        self._due = time.monotonic() + FLUSH_SECONDS
        self._committing, self._waiting = self._waiting, []
        if self._thread is None:
            self._after_commit(self._write(self._committing))
        else:
            self._commit = self._thread.submit(self._write, self._committing)
            self._commit.add_done_callback(lambda _: self._wake())

    def _finish_commit(self) -> None:
        """Wait for the running commit and handle its outcome."""
        commit, self._commit = self._commit, None
        assert commit is not None
        self._after_commit(commit.result())

    def _write(self, taken: Results) -> results.ClosedAttempts:
        # The child measures by this machine's clock; others compare by the database's.
        offset, now = self.database.clock_offset(), self.database.now()
        recorded = [result.by_clock(offset) for _, result in taken]
        closed = self.database.transact(lambda c: results.finish(c, self.worker_id, recorded, now))
        for job_id in closed.jobs:
            self.database.wakeups.notify(channel_of(job_id))
        return closed

    def _after_commit(self, closed: results.ClosedAttempts) -> None:
        """Publish the products of the committed results, and send the attempts to retry to the queue."""
        self._held.difference_update(result.attempt_id for _, result in self._committing)
        for attempt, result in self._committing:
            self._publish_or_discard(attempt, result, result.attempt_id in closed.accepted)
        self._committing = ()
        if closed.requeued:
            self.queue.publish(closed.requeued)

    def _publish_or_discard(self, attempt: ClaimedAttempt, result: AttemptResult, accepted: bool) -> None:
        if not accepted:
            self.stats.lost += 1
            LOG.warning("attempt %d no longer belongs to this worker: its result is dropped", result.attempt_id)
            for version in result.versions:
                self.store.discard(version)
            return
        if result.state is AttemptState.DONE:
            self.stats.done += 1
        else:
            self.stats.failed += 1
            LOG.info("attempt %d (%s) failed: %s", result.attempt_id, attempt.task_type, result.reason)
        for version in result.versions:
            if result.state is AttemptState.DONE or version.passed:
                self.store.publish(attempt.working_directory, version.file_name, version.store_path)
