"""A worker: claims attempts, has them run in its child process, and records what came of them.

The main thread claims, runs and records. A second thread (``heartbeat``) writes heartbeats, so that
a task which holds the processor, or this process's interpreter, is not taken for dead; and it tells
the main thread when an attempt no longer belongs to this worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from sqlalchemy import Connection

from eas.errors import EASError, ServiceError, StoreError, StorePathError
from eas.filestore import FileStore
from eas.maintenance import process_identity
from eas.model import AttemptResult, ClaimedAttempt, InputProduct, LogEntry, NewFile, NewVersion, QueuedAttempt
from eas.queues.base import JobQueue
from eas.registry import Registry
from eas.states import AttemptState
from eas.taskdb import attempts, results, workers
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import schema_mismatch
from eas.wakeups import channel_of
from eas.worker.executor import Executor
from eas.worker.heartbeat import Heartbeat
from eas.worker.protocol import Work

LOG = logging.getLogger("eas.worker")

BATCH_SECONDS = 0.25
"""Short tasks are claimed together, about so much work at a time [s]: each commit serves many."""
BATCH_LIMIT = 128
FLUSH_SECONDS = 0.05
"""Results wait at most so long for others to be committed with them [s]."""
SCHEMA_CHECK = 5.0
"""How often a worker checks that the schema still is the one of its release, at least [s]."""
INPUTS = "inputs"
"""Where a batch's inputs are copied to from a remote file store, below the scratch folder."""


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker behaves.

    Attributes
    ----------
    worker_types:
        It runs the task types of all of these, and of ``eas-base``.
    lease:
        Heartbeat age that makes an attempt stalled [s]; heartbeats come five times as often.
    idle_exit:
        Leave when there was nothing to do for so long [s]; None to stay.
    time_limit:
        Claim nothing any more after so long [s]; None for no limit.
    parent:
        Leave when this process is gone; None to stay.
    memory_limits:
        Hold tasks to the memory of the worker type.
    """

    worker_types: tuple[str, ...]
    lease: float = 300.0
    idle_exit: float | None = None
    time_limit: float | None = None
    parent: int | None = None
    memory_limits: bool = True


@dataclass
class RunStats:
    """What a worker did: attempts *done* and *failed*, and results that came too late (*lost*)."""

    done: int = 0
    failed: int = 0
    lost: int = 0


@dataclass
class _Batch:
    """Attempts that were claimed together, and results that wait for the next commit."""

    claimed: dict[int, ClaimedAttempt]
    works: dict[int, Work] = field(default_factory=dict)
    results: list[AttemptResult] = field(default_factory=list)
    flushed: float = field(default_factory=time.monotonic)


class Worker:
    """One worker under an id of its own. ``run`` returns when it leaves; ``leave`` asks it to."""

    def __init__(
        self,
        database: TaskDatabase,
        queue: JobQueue,
        store: FileStore,
        registry: Registry,
        options: WorkerOptions,
        *,
        input_directory: Path,
    ) -> None:
        self.database = database
        self.queue = queue
        self.store = store
        self.registry = registry
        self.options = options
        self.worker_id = uuid.uuid4().hex
        self.task_types = registry.task_types_of(options.worker_types)
        self.stats = RunStats()
        types = [registry.worker_types[name] for name in options.worker_types]
        self.cpus = max(1, min(int(max(each.cpu for each in types)), os.cpu_count() or 1))
        memory = max(each.memory for each in types) * 1000 if options.memory_limits else None
        self.executor = Executor(threads=self.cpus, memory_limit=memory, input_directory=input_directory)
        self._leaving = threading.Event()
        self._why = "it was asked to"
        self._seconds: dict[str, float] = {}
        self._held: set[int] = set()

    def leave(self, why: str = "it was asked to") -> None:
        """Finish the running task, hand back the others and leave. Fit for signal handlers."""
        self._why = why
        self._leaving.set()
        self.executor.drain()
        self.queue.wake()

    def run(self) -> RunStats:
        """Work until asked to leave, idle for too long, out of time, or the parent is gone.

        Raises StoreError or ServiceError where the file store cannot be written: what was claimed is
        returned to the queue, as every other attempt would fail alike.
        """
        self.store.check()
        self.database.transact(self._register)
        heartbeat = Heartbeat(
            self.database,
            self.queue,
            self.worker_id,
            store=self.store,
            lease=self.options.lease,
            held=self._held,
            on_lost=lambda attempt: self.executor.interrupt("the attempt no longer belongs to this worker", attempt),
        )
        try:
            with heartbeat, self.executor, self.store.staging() as scratch:
                self.executor.remove_if_killed(scratch)
                self._serve_unless_outdated(scratch)
        finally:
            now = self.database.now()
            self.database.transact(lambda c: workers.leave(c, self.worker_id, self._why, now))
        return self.stats

    def _serve_unless_outdated(self, scratch: Path) -> None:
        """Serve; an error because of a schema of a later release is no failure."""
        try:
            self._serve(scratch)
        except Exception as error:
            if not self._leave_if_outdated():
                raise
            LOG.debug("the last error: %s", error)

    def _leave_if_outdated(self) -> bool:
        """Leave if the task database was migrated: tasks would fail without a fault of their own."""
        if mismatch := schema_mismatch(self.database):
            LOG.warning("%s: the worker exits; start one of the newer release", mismatch)
            self.leave(mismatch)
        return bool(mismatch)

    def _register(self, connection: Connection) -> None:
        workers.register(
            connection,
            worker_id=self.worker_id,
            host=workers.Host(
                # A deployment may know the host by a better name: in Kubernetes, the pod.
                os.environ.get("EAS_HOST") or socket.gethostname(),
                os.cpu_count() or 1,
                psutil.virtual_memory().total / 1e9,
            ),
            process=process_identity.this_process(),
            worker_types=self.options.worker_types,
            cpus=self.cpus,
            now=self.database.now(),
        )

    def _serve(self, scratch: Path) -> None:
        began = worked = checked = time.monotonic()
        while not self._leaving.is_set():
            if time.monotonic() - checked >= SCHEMA_CHECK:
                checked = time.monotonic()
                if self._leave_if_outdated():
                    return
            claimed = self._claim()
            now = time.monotonic()
            if claimed:
                self._work_off(claimed, scratch)
                worked = time.monotonic()
            elif self.options.idle_exit is not None and now - worked >= self.options.idle_exit:
                self.leave(f"nothing to do for {self.options.idle_exit:g} s")
            if self.options.time_limit is not None and now - began >= self.options.time_limit:
                self.leave(f"its time limit of {self.options.time_limit:g} s is reached")
            if self.options.parent is not None and os.getppid() != self.options.parent:
                self.leave("the process that started it is gone")

    # -- claiming ------------------------------------------------------------------------------

    def _claim(self) -> list[ClaimedAttempt]:
        """Claim the next attempt, and more of its kind where these are short."""
        patience = 1.0 if self.options.idle_exit is None else min(1.0, max(self.options.idle_exit / 4, 0.05))
        ids = self.queue.claim(self.worker_id, self.task_types, 1, patience)
        if not ids:
            return []
        claimed = self._describe(ids)
        task_type = claimed[0].task_type
        more = self._how_many(task_type) - 1
        if more > 0:
            ids = self.queue.claim(self.worker_id, [task_type], more, 0.0)
            claimed += self._describe(ids) if ids else []
        self._held.update(each.attempt_id for each in claimed)
        return claimed

    def _describe(self, ids: Sequence[int]) -> list[ClaimedAttempt]:
        return self.database.transact(lambda c: attempts.describe(c, ids))

    def _how_many(self, task_type: str) -> int:
        """Return how many attempts of a type make up one batch; one where its speed is unknown."""
        seconds = self._seconds.get(task_type)
        return 1 if seconds is None else max(1, min(int(BATCH_SECONDS / max(seconds, 1e-4)), BATCH_LIMIT))

    def _learn(self, task_type: str, seconds: float) -> None:
        """Remember how long tasks take: a slower task counts at once, a faster one gradually."""
        known = self._seconds.get(task_type, seconds)
        self._seconds[task_type] = max(seconds, 0.7 * known + 0.3 * seconds)

    # -- running -------------------------------------------------------------------------------

    def _work_off(self, claimed: Sequence[ClaimedAttempt], scratch: Path) -> None:
        """Run claimed attempts and record their results; hand back those that were not run."""
        batch = _Batch({each.attempt_id: each for each in claimed})
        with contextlib.ExitStack() as folders:
            try:
                for result in self.executor.run_many(self._prepare(batch, scratch, folders)):
                    self._collect(batch, result)
            finally:
                self._flush(batch)
                self._hand_back([attempt for attempt in batch.claimed if attempt in self._held])
                shutil.rmtree(scratch / INPUTS, ignore_errors=True)

    def _collect(self, batch: _Batch, result: AttemptResult) -> None:
        work = batch.works.pop(result.attempt_id)
        if result.interrupted:
            return  # it belongs to another worker, or is handed back
        self._learn(work.attempt.task_type, result.ended - result.started)
        batch.results.append(self._with_files(work, result))
        if time.monotonic() - batch.flushed >= FLUSH_SECONDS:
            self._flush(batch)

    def _hand_back(self, attempt_ids: Sequence[int]) -> None:
        if attempt_ids:
            returned = self.database.transact(lambda c: attempts.hand_back(c, self.worker_id, attempt_ids))
            self._held.difference_update(attempt_ids)
            self.queue.publish(returned)

    def _prepare(self, batch: _Batch, scratch: Path, folders: contextlib.ExitStack) -> Iterator[Work]:
        """Yield the work; attempts whose inputs are not sound end here, as failed."""
        for attempt in batch.claimed.values():
            try:
                work = self._work(attempt, scratch, folders)
            except ServiceError:
                raise
            except EASError as error:
                now = time.time()
                entry = LogEntry(now, logging.ERROR, "eas.worker", str(error))
                batch.results.append(AttemptResult(attempt.attempt_id, error.what, now, now, log=(entry,)))
                continue
            batch.works[attempt.attempt_id] = work
            yield work

    def _work(self, attempt: ClaimedAttempt, scratch: Path, folders: contextlib.ExitStack) -> Work:
        task_type = self.registry.task_type(attempt.task_type)
        outputs: dict[str, Path] = {}
        if attempt.outputs:
            staging = folders.enter_context(self.store.staging(scratch))
            # Semantic names may hold any character: the staged files are numbered.
            outputs = {name: staging / f"output-{number}" for number, name in enumerate(sorted(attempt.outputs))}
        return Work(
            attempt,
            implementation=task_type.implementation,
            scratch=scratch / "task",
            inputs={
                name: InputProduct(version.file_name, self.store.fetch(version, scratch / INPUTS), version.metadata)
                for name, version in attempt.inputs.items()
            },
            outputs=outputs,
            new_directory=folders.enter_context(self.store.staging(scratch)) if task_type.dynamic_outputs else None,
            time_limit=task_type.time_limit,
        )

    def _with_files(self, work: Work, result: AttemptResult) -> AttemptResult:
        """Store what an attempt wrote, also where it failed, for a diagnosis; return its result with the versions."""
        versions: list[NewVersion] = []
        trouble = self._store(work, versions)
        trouble = self._store_new(work, result.new_files, versions) or trouble
        return replace(result, reason=result.reason or trouble, versions=tuple(versions))

    def _store(self, work: Work, versions: list[NewVersion]) -> str:
        """Store the outputs that the chain names; return what went wrong."""
        for name, path in work.outputs.items():
            if not os.path.lexists(path):
                continue
            try:
                versions.append(self._add(work.attempt, name, work.attempt.outputs[name], path))
            except (StoreError, StorePathError, OSError) as error:
                return f"its output {name} cannot be stored: {error}"
        return ""

    def _store_new(self, work: Work, files: Sequence[NewFile], versions: list[NewVersion]) -> str:
        """Store files that the chain does not name; return what went wrong with the last bad one."""
        trouble = ""
        for each in files:
            try:
                version = self._add(work.attempt, "", each.file_name, each.path)
            except (StoreError, StorePathError, OSError) as error:
                trouble = f"the file product {each.file_name} cannot be stored: {error}"
                continue
            versions.append(replace(version, passed=each.passed))
        return trouble

    def _add(self, attempt: ClaimedAttempt, semantic: str, file_name: str, path: Path) -> NewVersion:
        return self.store.add(
            path,
            semantic=semantic,
            working_directory=attempt.working_directory,
            file_name=file_name,
            attempt_id=attempt.attempt_id,
        )

    # -- recording -----------------------------------------------------------------------------

    def _flush(self, batch: _Batch) -> None:
        """Commit the collected results, and publish their products."""
        batch.flushed = time.monotonic()
        taken, batch.results = batch.results, []
        if not taken:
            return
        # The child measures by this machine's clock; others compare by the database's.
        offset, now = self.database.clock_offset(), self.database.now()
        recorded = [result.by_clock(offset) for result in taken]
        closed = self.database.transact(lambda c: results.finish(c, self.worker_id, recorded, now))
        for job_id in closed.jobs:
            self.database.wakeups.notify(channel_of(job_id))
        self._held.difference_update(result.attempt_id for result in taken)
        for result in taken:
            self._after(batch.claimed[result.attempt_id], result, result.attempt_id in closed.accepted)
        self._publish(closed.requeued)

    def _publish(self, queued: Sequence[QueuedAttempt]) -> None:
        if queued:
            self.queue.publish(queued)

    def _after(self, attempt: ClaimedAttempt, result: AttemptResult, accepted: bool) -> None:
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
