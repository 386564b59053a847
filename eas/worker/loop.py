"""A worker: claims attempts, has them run in its child process, and records what came of them.

The main thread claims, runs and records. A second thread (``heartbeat``) writes heartbeats, so that
a task which holds the processor, or this process's interpreter, is not taken for dead; and it tells
the main thread when an attempt is not ours any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from sqlalchemy import Connection

from eas.control import machine
from eas.errors import EASError, ServiceError, StoreError, StorePathError
from eas.filestore import FileStore
from eas.model import AttemptResult, ClaimedAttempt, InputProduct, LogEntry, NewVersion, QueuedAttempt, Usage
from eas.queues.base import JobQueue
from eas.registry import Registry
from eas.states import AttemptState
from eas.taskdb import attempts, results, workers
from eas.taskdb.engine import TaskDatabase
from eas.worker.executor import Executor
from eas.worker.heartbeat import Heartbeat
from eas.worker.protocol import NewFile, Outcome, Work

LOG = logging.getLogger("eas.worker")

BATCH_SECONDS = 0.25
"""Short tasks are claimed together, about so much work at a time [s]: each commit serves many."""
BATCH_LIMIT = 128
FLUSH_SECONDS = 0.05
"""Results wait at most so long for others to be committed with them [s]."""
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
class Tally:
    """What a worker did: attempts *done* and *failed*, and results that nobody wanted (*lost*)."""

    done: int = 0
    failed: int = 0
    lost: int = 0


@dataclass
class _Batch:
    """Results that wait for the next commit."""

    results: list[AttemptResult] = field(default_factory=list)
    claimed: dict[int, ClaimedAttempt] = field(default_factory=dict)
    staged: dict[int, dict[str, Path]] = field(default_factory=dict)
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
        self.tally = Tally()
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

    def run(self) -> Tally:
        """Work until asked to leave, idle for too long, out of time, or the parent is gone.

        Raises StoreError or ServiceError where the file store cannot be written: what was claimed is
        handed back, as no other attempt would fare better.
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
            let_go=lambda attempt: self.executor.interrupt("the attempt is not this worker's any more", attempt),
        )
        try:
            with heartbeat, self.executor, self.store.staging() as scratch:
                self._serve(scratch)
        finally:
            now = self.database.now()
            self.database.transact(lambda c: workers.leave(c, self.worker_id, self._why, now))
        return self.tally

    def _register(self, connection: Connection) -> None:
        workers.register(
            connection,
            worker_id=self.worker_id,
            # A deployment may know the host by a better name: in Kubernetes, the pod.
            host=os.environ.get("EAS_HOST") or socket.gethostname(),
            host_cpus=os.cpu_count() or 1,
            host_memory=psutil.virtual_memory().total / 1e9,
            process=machine.this_process(),
            worker_types=self.options.worker_types,
            cpus=self.cpus,
            now=self.database.now(),
        )

    def _serve(self, scratch: Path) -> None:
        began = worked = time.monotonic()
        while not self._leaving.is_set():
            claimed = self._claim()
            now = time.monotonic()
            if claimed:
                self._work_off(claimed, scratch)
                worked = time.monotonic()
            elif self.options.idle_exit is not None and now - worked >= self.options.idle_exit:
                self.leave(f"nothing to do for {self.options.idle_exit:g} s")
            if self.options.time_limit is not None and now - began >= self.options.time_limit:
                self.leave(f"its time of {self.options.time_limit:g} s is over")
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
        """Remember how long tasks take: slower counts at once, faster little by little."""
        known = self._seconds.get(task_type, seconds)
        self._seconds[task_type] = max(seconds, 0.7 * known + 0.3 * seconds)

    # -- running -------------------------------------------------------------------------------

    def _work_off(self, claimed: Sequence[ClaimedAttempt], scratch: Path) -> None:
        """Run claimed attempts and record their results; hand back those that were not run."""
        batch = _Batch(claimed={each.attempt_id: each for each in claimed})
        with contextlib.ExitStack() as folders:
            try:
                for outcome in self.executor.run_many(self._prepare(batch, scratch, folders)):
                    self._take_in(batch, outcome)
            finally:
                self._flush(batch)
                self._hand_back([attempt for attempt in batch.claimed if attempt in self._held])
                shutil.rmtree(scratch / INPUTS, ignore_errors=True)

    def _take_in(self, batch: _Batch, outcome: Outcome) -> None:
        if outcome.interrupted:
            return  # either not ours any more, or to be handed back
        attempt = batch.claimed[outcome.attempt_id]
        self._learn(attempt.task_type, outcome.ended - outcome.started)
        batch.results.append(self._result(attempt, outcome, batch.staged.pop(outcome.attempt_id)))
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
                now = attempts.now()
                entry = LogEntry(now, logging.ERROR, "eas.worker", str(error))
                batch.results.append(
                    AttemptResult(attempt.attempt_id, AttemptState.FAILED, error.what, now, now, Usage(), log=(entry,))
                )
                continue
            batch.staged[attempt.attempt_id] = dict(work.outputs)
            yield work

    def _work(self, attempt: ClaimedAttempt, scratch: Path, folders: contextlib.ExitStack) -> Work:
        task_type = self.registry.task_type(attempt.task_type)
        outputs: dict[str, Path] = {}
        if attempt.outputs:
            staging = folders.enter_context(self.store.staging())
            # The staged names are ours: a semantic name may hold anything.
            outputs = {name: staging / f"output-{number}" for number, name in enumerate(sorted(attempt.outputs))}
        return Work(
            attempt_id=attempt.attempt_id,
            task_type=attempt.task_type,
            implementation=task_type.implementation,
            scratch=scratch / "task",
            settings=attempt.settings,
            metadata=attempt.metadata,
            inputs={
                name: InputProduct(version.file_name, self.store.fetch(version, scratch / INPUTS), version.metadata)
                for name, version in attempt.inputs.items()
            },
            outputs=outputs,
            new_directory=folders.enter_context(self.store.staging()) if task_type.dynamic_outputs else None,
            seed=int.from_bytes(hashlib.sha256(attempt.seed.encode()).digest()[:6], "big"),
            time_limit=task_type.time_limit,
        )

    def _result(self, attempt: ClaimedAttempt, outcome: Outcome, staged: Mapping[str, Path]) -> AttemptResult:
        versions, trouble = self._store(attempt, staged)
        trouble = self._store_new(attempt, outcome.new_files, versions) or trouble
        passed = outcome.passed and not trouble
        return AttemptResult(
            attempt_id=attempt.attempt_id,
            state=AttemptState.DONE if passed else AttemptState.FAILED,
            reason="" if passed else (outcome.reason or trouble),
            started=outcome.started,
            ended=outcome.ended,
            usage=outcome.usage,
            metadata=outcome.metadata,
            checks=outcome.checks,
            versions=tuple(versions),
            log=outcome.log,
        )

    def _store(self, attempt: ClaimedAttempt, staged: Mapping[str, Path]) -> tuple[list[NewVersion], str]:
        """Take what an attempt wrote into the store, also where it failed: people will want to look."""
        versions: list[NewVersion] = []
        for name, path in staged.items():
            if not os.path.lexists(path):
                continue
            try:
                version = self.store.add(
                    path,
                    semantic=name,
                    working_directory=attempt.working_directory,
                    file_name=attempt.outputs[name],
                    attempt_id=attempt.attempt_id,
                )
            except (StoreError, StorePathError, OSError) as error:
                return versions, f"its output {name} cannot be stored: {error}"
            versions.append(version)
        return versions, ""

    def _store_new(self, attempt: ClaimedAttempt, files: Sequence[NewFile], versions: list[NewVersion]) -> str:
        """Take files that the chain does not name into the store; return what went wrong with the last bad one."""
        trouble = ""
        for each in files:
            try:
                version = self.store.add(
                    each.path,
                    semantic="",
                    working_directory=attempt.working_directory,
                    file_name=each.file_name,
                    attempt_id=attempt.attempt_id,
                )
            except (StoreError, StorePathError, OSError) as error:
                trouble = f"the file product {each.file_name} cannot be stored: {error}"
                continue
            versions.append(replace(version, passed=each.passed))
        return trouble

    # -- recording -----------------------------------------------------------------------------

    def _flush(self, batch: _Batch) -> None:
        """Commit the results that have come together, and show their products under plain names."""
        batch.flushed = time.monotonic()
        taken, batch.results = batch.results, []
        if not taken:
            return
        now = self.database.now()
        closed = self.database.transact(lambda c: results.finish(c, self.worker_id, taken, now))
        self._held.difference_update(result.attempt_id for result in taken)
        for result in taken:
            self._after(batch.claimed[result.attempt_id], result, result.attempt_id in closed.accepted)
        self._publish(closed.requeued)

    def _publish(self, queued: Sequence[QueuedAttempt]) -> None:
        if queued:
            self.queue.publish(queued)

    def _after(self, attempt: ClaimedAttempt, result: AttemptResult, accepted: bool) -> None:
        if not accepted:
            self.tally.lost += 1
            LOG.warning("attempt %d is not ours any more: its result is dropped", result.attempt_id)
            for version in result.versions:
                self.store.discard(version)
            return
        if result.state is AttemptState.DONE:
            self.tally.done += 1
        else:
            self.tally.failed += 1
            LOG.info("attempt %d (%s) failed: %s", result.attempt_id, attempt.task_type, result.reason)
        for version in result.versions:
            if result.state is AttemptState.DONE or version.passed:
                self.store.show(attempt.working_directory, version.file_name, version.store_path)
