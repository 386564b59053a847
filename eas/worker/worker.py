"""A worker: claims attempts, runs them in its child process, and records their results.

The main thread claims and runs; another one commits results where a server keeps them (``recorder``).
A third thread (``heartbeat``) writes heartbeats, so that a task which holds the processor, or this
process's interpreter, is not considered dead; it also notifies the main thread when an attempt no longer
belongs to this worker.
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
from eas.model import AttemptResult, ClaimedAttempt, DynamicOutput, InputProduct, LogEntry, NewVersion
from eas.queues.base import JobQueue
from eas.registry import Registry
from eas.taskdb import attempt_claims, workers
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import schema_mismatch
from eas.worker.executor import Executor
from eas.worker.heartbeat import Heartbeat
from eas.worker.protocol import Work
from eas.worker.recorder import Recorder, RunStats

LOG = logging.getLogger("eas.worker")

MAX_BATCH_SECONDS = 0.25
"""Maximum duration [s] of the short tasks that a worker holds at once, so that one commit serves many."""
MAX_BATCH_ATTEMPTS = 256
PRIORITY_CHECK_INTERVAL = 1.0
"""Interval [s] at which a worker that runs a series of short tasks checks whether another type is more urgent."""
MAX_SERIES_SECONDS = 5.0
"""Maximum duration [s] of such a series; after it, the copies of its inputs are removed."""
SCHEMA_CHECK_INTERVAL = 5.0
"""Maximum time [s] between two checks that the schema still matches the worker's release."""
INPUTS_FOLDER = "inputs"
"""Subfolder of the scratch folder for the inputs of a batch, copied from a remote file store."""


@dataclass(frozen=True)
class WorkerOptions:
    """Options of a worker.

    Attributes
    ----------
    worker_types:
        The worker runs the task types of all of these and of ``eas-base``.
    lease:
        Heartbeat age that makes an attempt stalled [s]; heartbeats come five times as often.
    idle_exit:
        Exit after this time [s] without work; None to keep waiting.
    time_limit:
        Stop claiming after this time [s]; None for no limit.
    parent:
        Id of a process; the worker exits when that process has ended. None for no such process.
    memory_limits:
        Whether to limit the memory of tasks to that of the worker type.
    """

    worker_types: tuple[str, ...]
    lease: float = 300.0
    idle_exit: float | None = None
    time_limit: float | None = None
    parent: int | None = None
    memory_limits: bool = True


@dataclass
class _Batch:
    """Attempts of one task type that are run one after the other; ``works`` have no result yet."""

    task_type: str
    works: dict[int, tuple[Work, contextlib.ExitStack]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    priority_checked: float = field(default_factory=time.monotonic)


class Worker:
    """One worker with its own id. ``run`` returns when the worker exits; ``stop`` requests that."""

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
        types = [registry.worker_types[name] for name in options.worker_types]
        self.cpus = max(1, min(int(max(each.cpu for each in types)), os.cpu_count() or 1))
        memory = max(each.memory for each in types) * 1000 if options.memory_limits else None
        self.executor = Executor(threads=self.cpus, memory_limit=memory, input_directory=input_directory)
        self._stopping = threading.Event()
        self._exit_reason = "it was asked to"
        self._typical_seconds: dict[str, float] = {}
        self._held: set[int] = set()
        self.recorder = Recorder(database, queue, store, self.worker_id, held=self._held, wake=self.executor.wake)
        self.executor.while_waiting = self.recorder.poll

    @property
    def stats(self) -> RunStats:
        """What the worker did so far."""
        return self.recorder.stats

    def stop(self, why: str = "it was asked to") -> None:
        """Finish the running task, return the other claimed ones to the queue, and exit. Safe in signal handlers."""
        self._exit_reason = why
        self._stopping.set()
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
            with heartbeat, self.executor, self.recorder, self.store.staging() as scratch:
                self.executor.remove_if_killed(scratch)
                self._serve_unless_outdated(scratch)
        finally:
            now = self.database.now()
            self.database.transact(lambda c: workers.mark_left(c, self.worker_id, self._exit_reason, now))
        return self.stats

    def _serve_unless_outdated(self, scratch: Path) -> None:
        """Serve; exit normally on an error that a schema of a later release has caused."""
        try:
            self._serve(scratch)
        except Exception as error:
            if not self._leave_if_outdated():
                raise
            LOG.debug("the last error: %s", error)

    def _leave_if_outdated(self) -> bool:
        """Stop if the task database was migrated, because all tasks would fail; return whether to stop."""
        if mismatch := schema_mismatch(self.database):
            LOG.warning("%s: the worker exits; start one of the newer release", mismatch)
            self.stop(mismatch)
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
        while not self._stopping.is_set():
            if time.monotonic() - checked >= SCHEMA_CHECK_INTERVAL:
                checked = time.monotonic()
                if self._leave_if_outdated():
                    return
            claimed = self._claim(self.task_types, 1, self._claim_timeout())
            now = time.monotonic()
            if claimed:
                self._run_batch(claimed, scratch)
                worked = time.monotonic()
            elif self.options.idle_exit is not None and now - worked >= self.options.idle_exit:
                self.stop(f"nothing to do for {self.options.idle_exit:g} s")
            if self.options.time_limit is not None and now - began >= self.options.time_limit:
                self.stop(f"its time limit of {self.options.time_limit:g} s is reached")
            if self.options.parent is not None and os.getppid() != self.options.parent:
                self.stop("the process that started it is gone")

    # -- claiming ------------------------------------------------------------------------------

    def _claim_timeout(self) -> float:
        """Return how long to wait for something to do [s]."""
        return 1.0 if self.options.idle_exit is None else min(1.0, max(self.options.idle_exit / 4, 0.05))

    def _claim(self, task_types: Sequence[str], limit: int, timeout: float) -> list[ClaimedAttempt]:
        """Claim up to ``limit`` attempts, waiting for the first up to ``timeout`` [s]."""
        claimed = self.queue.claim(self.worker_id, task_types, limit, timeout)
        self._held.update(each.attempt_id for each in claimed)
        return claimed

    def _claim_more(self, batch: _Batch) -> list[ClaimedAttempt]:
        """Claim more attempts of the same type, if they are short, while the child runs the current ones."""
        most = self.executor.window = self._batch_size(batch.task_type)
        now = time.monotonic()
        if most == 1 or self._stopping.is_set() or now - batch.began >= MAX_SERIES_SECONDS:
            return []
        if now - batch.priority_checked >= PRIORITY_CHECK_INTERVAL:
            batch.priority_checked = now
            if self.queue.most_urgent(self.task_types) != batch.task_type:
                return []
        return self._claim([batch.task_type], most - most // 2, 0.0)

    def _batch_size(self, task_type: str) -> int:
        """Return how many attempts of a type to hold at once; 1 while its typical duration is unknown."""
        seconds = self._typical_seconds.get(task_type)
        return 1 if seconds is None else max(1, min(int(MAX_BATCH_SECONDS / max(seconds, 1e-4)), MAX_BATCH_ATTEMPTS))

    def _record_duration(self, task_type: str, seconds: float) -> None:
        """Remember how long tasks take: a slower task counts at once, a faster one gradually."""
        known = self._typical_seconds.get(task_type, seconds)
        self._typical_seconds[task_type] = max(seconds, 0.7 * known + 0.3 * seconds)

    # -- running -------------------------------------------------------------------------------

    def _run_batch(self, claimed: Sequence[ClaimedAttempt], scratch: Path) -> None:
        """Run claimed attempts and record their results; hand back those that were not run."""
        batch = _Batch(claimed[0].task_type)
        self.executor.window = self._batch_size(batch.task_type)
        try:
            for result in self.executor.run_many(self._prepare(batch, claimed, scratch)):
                self._collect(batch, result)
        finally:
            self.recorder.finish()
            self._hand_back(sorted(self._held))
            for _, folders in batch.works.values():
                folders.close()
            shutil.rmtree(scratch / INPUTS_FOLDER, ignore_errors=True)

    def _collect(self, batch: _Batch, result: AttemptResult) -> None:
        work, folders = batch.works.pop(result.attempt_id)
        with folders:
            if result.interrupted:
                return  # it belongs to another worker, or is handed back
            self._record_duration(work.attempt.task_type, result.usage.wall)
            self.recorder.add(work.attempt, self._with_files(work, result))
        self.recorder.poll()

    def _hand_back(self, attempt_ids: Sequence[int]) -> None:
        if attempt_ids:
            returned = self.database.transact(lambda c: attempt_claims.return_to_queue(c, self.worker_id, attempt_ids))
            self._held.difference_update(attempt_ids)
            self.queue.publish(returned)

    def _prepare(self, batch: _Batch, claimed: Sequence[ClaimedAttempt], scratch: Path) -> Iterator[Work]:
        """Yield the claimed attempts as work, then claim more; record attempts with invalid inputs as failed."""
        while claimed:
            for attempt in claimed:
                folders = contextlib.ExitStack()
                try:
                    work = self._to_work(attempt, scratch, folders)
                except ServiceError:
                    raise
                except EASError as error:
                    folders.close()
                    now = time.time()
                    entry = LogEntry(now, logging.ERROR, "eas.worker", str(error))
                    failed = AttemptResult(attempt.attempt_id, error.what, now, now, log=(entry,))
                    self.recorder.add(attempt, failed)
                    continue
                batch.works[attempt.attempt_id] = (work, folders)
                yield work
            claimed = self._claim_more(batch)

    def _to_work(self, attempt: ClaimedAttempt, scratch: Path, folders: contextlib.ExitStack) -> Work:
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
                name: InputProduct(
                    version.file_name, self.store.local_copy(version, scratch / INPUTS_FOLDER), version.metadata
                )
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
        """Store the outputs that the chain names; return the error message, or an empty string."""
        for name, path in work.outputs.items():
            if not os.path.lexists(path):
                continue
            try:
                versions.append(self._add(work.attempt, name, work.attempt.outputs[name], path))
            except (StoreError, StorePathError, OSError) as error:
                return f"its output {name} cannot be stored: {error}"
        return ""

    def _store_new(self, work: Work, files: Sequence[DynamicOutput], versions: list[NewVersion]) -> str:
        """Store the dynamic outputs; return the error message of the last failure, or an empty string."""
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
