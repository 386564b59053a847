"""Runs attempts in a child process, which isolates the worker from faults of their code.

The child runs one attempt after the other, so an empty one costs a fraction of a millisecond.
After a crash, a leak, a process or thread left behind, or a number of attempts, a new child takes
over. Several requests are sent ahead; those that a child has not started are sent to the next child.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from eas.errors import EASError
from eas.model import AttemptResult, LogEntry, Usage
from eas.worker.child_process import ChildExit, ChildOptions, ChildProcess, crash_usage
from eas.worker.guard import Guard
from eas.worker.in_flight import PendingAttempt
from eas.worker.processes import sample
from eas.worker.protocol import Message, Work
from eas.worker.scratch import remove

_QC_TIME_LIMIT = 600.0
"""Time limit of QC [s]; the task type's own time limit applies if it is lower."""
_CHILD_START_TIMEOUT = 120.0
_MAX_CHILD_STARTS = 3
_FIRST_SAMPLE_DELAY = 0.1
_MIN_SAMPLE_INTERVAL = 0.2
_MAX_SAMPLING_SHARE = 0.005
"""Maximum share of the wall time that is spent on sampling the memory of the processes."""
_DEFAULT_RECYCLE_MEMORY = 4000.0
_TERMINATE_GRACE = 1.0
"""Time [s] between SIGTERM and SIGKILL for the processes of an aborted attempt."""


class Executor:
    """Runs attempts one after the other; used by one thread, interruptible from others.

    The child dies with the thread that uses the executor.

    Parameters
    ----------
    threads:
        CPUs that numerical libraries in the child may use.
    memory_limit:
        MB (10**6 bytes) that an attempt's processes may use together; None for no limit.
    input_directory:
        What tasks see as ``TaskContext.input_directory``.
    recycle_after:
        Number of attempts after which a child is replaced.
    recycle_memory:
        ... and the memory [MB] above which it is replaced after an attempt (default: half of
        ``memory_limit``, else 4 GB).
    window:
        Number of requests that ``run_many`` sends ahead; it sends more when half of them are done.
        May be changed meanwhile.
    python_path:
        Directories that the child prepends to ``sys.path``.

    Attributes
    ----------
    while_waiting:
        Called before each wait for the child; returns the seconds until its next call.
    """

    def __init__(
        self,
        *,
        threads: int,
        memory_limit: float | None,
        input_directory: Path,
        recycle_after: int = 1000,
        recycle_memory: float | None = None,
        window: int = 32,
        python_path: Iterable[Path] = (),
    ) -> None:
        if recycle_memory is None:
            recycle_memory = memory_limit / 2 if memory_limit else _DEFAULT_RECYCLE_MEMORY
        self._options = ChildOptions(
            threads, memory_limit, input_directory, recycle_after, recycle_memory, tuple(python_path)
        )
        self.window = window
        self.while_waiting: Callable[[], float] = lambda: math.inf
        self._child: ChildProcess | None = None
        self._guard: Guard | None = None
        self._failed_starts = 0
        self._scratch: Path | None = None
        self._pending: deque[PendingAttempt] = deque()
        self._results: deque[AttemptResult] = deque()
        self._interrupts: dict[int | None, str] = {}
        self._draining = self._halted = False
        self._start_deadline = 0.0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the child and release all resources; a second call has no effect."""
        self._discard()
        self._pending.clear()
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        for fd in {self._wake_read, self._wake_write} - {-1}:
            os.close(fd)
        self._wake_read = self._wake_write = -1

    def remove_if_killed(self, folder: Path) -> None:
        """Register ``folder`` for removal by the guard process if this process is killed."""
        self._get_guard().remove(folder)

    def _get_guard(self) -> Guard:
        if self._guard is None:
            self._guard = Guard()
        return self._guard

    # -- from any thread, or from a signal handler ---------------------------------------------

    def interrupt(self, reason: str, attempt_id: int | None = None) -> None:
        """Abort the running attempt (None), or ``attempt_id`` now or as soon as its turn comes.

        The result of the attempt has ``interrupted`` and ``reason`` set. No effect if no attempt is running.
        """
        self._interrupts[attempt_id] = reason
        self.wake()

    def drain(self) -> None:
        """Finish the running attempt; start none of the waiting ones and none given later."""
        self._draining = True
        self.wake()

    def wake(self) -> None:
        """Interrupt the current wait for the child, so that ``while_waiting`` is called again."""
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"!")

    # -- from the thread that uses it ----------------------------------------------------------

    def run(self, work: Work) -> AttemptResult:
        """Run one attempt. Raises EASError if no child can be started, or after ``drain``."""
        result = next(self.run_many([work]), None)
        if result is None:
            raise EASError(f"attempt {work.attempt.attempt_id} was not started, because the worker is stopping")
        return result

    def run_many(self, works: Iterable[Work]) -> Iterator[AttemptResult]:
        """Run attempts in their order, yielding each result as it comes.

        After ``drain`` the iterator ends early: attempts without a result were not started.
        Raises EASError if no child can be started.
        """
        source = iter(works)
        self._interrupts.pop(None, None)
        if self._child is not None:  # the idle child may have been killed meanwhile
            for message in self._child.wait(0.0):
                self._handle(self._child, message)
        try:
            while True:
                self._fill(source)
                if not self._pending and not self._results:
                    return
                while not self._results and self._pending:
                    self._advance()
                if self._results:
                    yield self._results.popleft()
        finally:
            if self._pending:  # the caller stopped iterating, or an exception is propagating
                self._discard()
            self._pending.clear()
            self._results.clear()

    def _fill(self, source: Iterator[Work]) -> None:
        """Send requests ahead, as many as the window takes."""
        if self._draining:
            return
        if self._child is not None and self._child.lost and not self._pending:
            self._discard()
        if len(self._pending) > self.window // 2:
            return
        for work in itertools.islice(source, self.window - len(self._pending)):
            pending = PendingAttempt(work)
            self._pending.append(pending)
            if self._child is not None:
                self._child.send(pending.to_message())

    def _advance(self) -> None:
        """Wait for one event and handle it."""
        child = self._child or self._start_child()
        if child is None:
            return
        pending = self._pending[0]
        if child.ready and not pending.started_monotonic:
            pending.begin(self._qc_time_limit(pending.work), _FIRST_SAMPLE_DELAY)
        for message in child.wait(min(self._timeout(child, pending), self.while_waiting())):
            self._handle(child, message)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        if self._child is child and self._pending:
            self._supervise(child)

    def _timeout(self, child: ChildProcess, pending: PendingAttempt) -> float:
        """Return the seconds until the next memory sample or deadline."""
        if not child.ready:
            due = self._start_deadline
        else:
            due = min(pending.next_sample, math.inf if pending.deadline is None else pending.deadline)
        return max(0.0, due - time.monotonic())

    def _supervise(self, child: ChildProcess) -> None:
        """Forward ``drain`` to the child, handle a lost or late child, and enforce the limits of the attempt."""
        if self._draining and not self._halted:
            self._halted = True
            child.send({"do": "halt"})
        if child.lost:
            return self._handle_child_failure(child, "")
        if not child.ready:
            if time.monotonic() > self._start_deadline:
                self._handle_child_failure(child, f"it was not ready after {_CHILD_START_TIMEOUT:g} s")
            return None
        return self._enforce_limits(child, self._pending[0])

    def _enforce_limits(self, child: ChildProcess, pending: PendingAttempt) -> None:
        """Abort ``pending`` if an interrupt was requested; kill the child if a time or memory limit is exceeded."""
        if pending.attempt_id in self._interrupts or None in self._interrupts:
            reasons = [self._interrupts.pop(key, None) for key in (pending.attempt_id, None)]
            return self._abort(child, next(filter(None, reasons), "interrupted"))
        now = time.monotonic()
        if pending.started_monotonic and pending.deadline is not None and now >= pending.deadline:
            return self._handle_child_failure(child, f"ran longer than {pending.limit:g} s")
        if pending.started_monotonic and now >= pending.next_sample:
            memory, cpu = sample(child.pid, pending.peak)
            pending.peak, pending.cpu = max(pending.peak, memory), max(pending.cpu, cpu - child.totals[0])
            done = time.monotonic()
            pending.next_sample = done + max(_MIN_SAMPLE_INTERVAL, (done - now) / _MAX_SAMPLING_SHARE)
            limit = self._options.memory_limit
            if limit is not None and memory > limit:
                return self._handle_child_failure(child, f"used more than {limit:g} MB of memory")
        return None

    # -- messages ------------------------------------------------------------------------------

    def _handle(self, child: ChildProcess, message: Message) -> None:
        said = message["say"]
        if said == "ready":
            child.ready, self._failed_starts = True, 0
            child.totals, child.resident = tuple(message["totals"]), message["resident"]
        elif said == "halted":
            self._pending.clear()
        elif not self._pending:
            return
        elif said == "log":
            self._pending[0].log.append(LogEntry(*message["entry"]))
        elif said == "ran":
            pending = self._pending[0]
            pending.code_ended = message
            pending.set_deadline(self._qc_time_limit(pending.work))
        elif said == "result" and message["id"] == self._pending[0].attempt_id:
            self._finish(child, message)

    def _finish(self, child: ChildProcess, message: Message) -> None:
        pending = self._pending.popleft()
        self._scratch = pending.work.scratch
        child.totals = tuple(message["totals"])
        pending.log += child.output()
        retire = message["retire"]
        if retire.startswith("the task left"):
            pending.note(logging.WARNING, f"{retire}: ended with the child process")
        self._results.append(pending.finish(message))
        self._interrupts.pop(pending.attempt_id, None)
        if retire:
            self._discard()
        elif self._pending:
            self._pending[0].begin(self._qc_time_limit(self._pending[0].work), _FIRST_SAMPLE_DELAY)

    @staticmethod
    def _qc_time_limit(work: Work) -> float:
        return min(_QC_TIME_LIMIT, work.time_limit or _QC_TIME_LIMIT)

    # -- children ------------------------------------------------------------------------------

    def _start_child(self) -> ChildProcess | None:
        """Start a child and send it all requests again; return None if no attempt is left to run."""
        if self._draining:  # while draining, attempts that no child has started are dropped
            self._pending = deque(each for each in self._pending if each.operation == "check")
            if not self._pending:
                return None
        self._child = child = ChildProcess(self._options, self._get_guard())
        child.watch(self._wake_read)
        self._start_deadline = time.monotonic() + _CHILD_START_TIMEOUT
        self._halted = self._draining
        for pending in self._pending:
            pending.started_monotonic = 0.0
            child.send(pending.to_message())
        return child

    def _discard(self) -> None:
        """Kill and close the child, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close()
            if self._scratch is not None:
                remove(self._scratch)

    def _kill_and_drain(self, child: ChildProcess, aimed: bool) -> tuple[PendingAttempt | None, ChildExit]:
        """Kill the child, handle the messages it had still sent, and return the attempt that was running.

        If the kill was ``aimed`` at one attempt and that attempt ended in the meantime, return None:
        the attempt after it must not be blamed; it runs again in the next child.
        """
        target = self._pending[0]
        end = child.kill()
        self._child = None
        for message in list(child.receive()):
            self._handle(child, message)
        pending = self._pending[0] if self._pending else None
        if pending is not None and aimed and pending is not target:
            pending.log.clear()
            pending.code_ended, pending.started_at, pending.started_monotonic = None, 0.0, 0.0
            pending = None
        if pending is not None:
            pending.log += child.output()
        child.close()
        return pending, end

    def _usage(self, pending: PendingAttempt, end: ChildExit) -> Usage:
        wall = time.monotonic() - pending.started_monotonic if pending.started_monotonic else 0.0
        return crash_usage(end, wall, pending.peak, pending.cpu)

    def _handle_child_failure(self, child: ChildProcess, cause: str) -> None:
        """Record the attempt of a child that died, or that is killed here because of ``cause``."""
        pending, end = self._kill_and_drain(child, aimed=bool(cause))
        if pending is None:
            return
        if not child.ready:
            self._count_failed_start(pending, cause or end.reason)
            return
        reason = cause or end.reason
        pending.note(logging.ERROR, reason)
        result = pending.crash(reason, self._usage(pending, end))
        if result is not None:
            self._pending.popleft()
            self._results.append(result)
            remove(pending.work.scratch)

    def _abort(self, child: ChildProcess, reason: str) -> None:
        child.request_exit(_TERMINATE_GRACE)
        pending, end = self._kill_and_drain(child, aimed=True)
        if pending is not None:
            self._pending.popleft()
            self._results.append(pending.abort(reason, self._usage(pending, end)))
            remove(pending.work.scratch)
        if self._draining:
            self._pending.clear()

    def _count_failed_start(self, pending: PendingAttempt, reason: str) -> None:
        """Count a failed start; raise EASError after ``_MAX_CHILD_STARTS`` of them in a row."""
        self._failed_starts += 1
        if self._failed_starts >= _MAX_CHILD_STARTS:
            said = " | ".join(entry.message for entry in pending.log[-2:])
            raise EASError(
                f"cannot start the worker's child process: {reason}; its last output: {said or 'none'}",
                hint="check that `python -m eas.worker.child` can start on this host",
            )
