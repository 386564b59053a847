"""Runs attempts in a warm child process, and survives whatever their code does.

The child runs one attempt after the other, so an empty one costs a fraction of a millisecond.
After a crash, a leak, a process or thread left behind, or a number of attempts, a fresh child takes
over. Several requests are sent ahead; those that a child did not come to go to the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from eas.errors import EASError
from eas.model import LogEntry, Usage
from eas.worker.flights import Flight
from eas.worker.processes import sample
from eas.worker.protocol import Message, Outcome, Work
from eas.worker.scratch import remove
from eas.worker.warm import ChildOptions, End, WarmChild, crash_usage

_JUDGING_LIMIT = 600.0
"""QC may take so long [s], or as long as the code itself where that has a lower limit."""
_START_LIMIT = 120.0
_START_TRIES = 3
_FIRST_SAMPLE = 0.1
_SAMPLE_EVERY = 0.2
_SAMPLE_SHARE = 0.02
"""Looking at the processes' memory takes at most this share of the time."""
_RECYCLE_MEMORY = 4000.0
_GRACE = 1.0
"""So long [s] after SIGTERM the processes of an attempt that is aborted are killed."""


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
        A child is replaced after so many attempts.
    recycle_memory:
        ... or when it holds more than so many MB after an attempt (default: half of
        ``memory_limit``, else 4 GB).
    window:
        So many requests are sent ahead by ``run_many``.
    python_path:
        Directories in which the child looks for modules first.
    on_tick:
        Called about every ``tick`` seconds while waiting; what it raises ends the call.
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
        on_tick: Callable[[], None] | None = None,
        tick: float = 1.0,
    ) -> None:
        if recycle_memory is None:
            recycle_memory = memory_limit / 2 if memory_limit else _RECYCLE_MEMORY
        self._options = ChildOptions(
            threads, memory_limit, input_directory, recycle_after, recycle_memory, tuple(python_path)
        )
        self._window = window
        self._on_tick, self._tick = on_tick, tick
        self._child: WarmChild | None = None
        self._failed_starts = 0
        self._scratch: Path | None = None
        self._flights: deque[Flight] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._interrupts: dict[int | None, str] = {}
        self._draining = self._halted = False
        self._stop_reason: str | None = None
        self._start_deadline = self._next_tick = 0.0
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
        """End the child, with whatever it is doing; twice changes nothing."""
        self._discard()
        self._flights.clear()
        for fd in {self._wake_read, self._wake_write} - {-1}:
            os.close(fd)
        self._wake_read = self._wake_write = -1

    # -- from any thread, or from a signal handler ---------------------------------------------

    def interrupt(self, reason: str, attempt_id: int | None = None) -> None:
        """Abort the running attempt (None), or ``attempt_id`` now or as soon as its turn comes.

        Its outcome says ``interrupted``, and ``reason``. Without effect where nothing is running.
        """
        self._interrupts[attempt_id] = reason
        self._wake()

    def stop(self, reason: str) -> None:
        """Abort the running attempt; those after it are not begun, and no other will be."""
        self._stop_reason = reason
        self._draining = True
        self._wake()

    def drain(self) -> None:
        """Let the running attempt end; those after it are not begun, and no other will be."""
        self._draining = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"!")

    # -- from the thread that uses it ----------------------------------------------------------

    def run(self, work: Work) -> Outcome:
        """Run one attempt. Raises EASError if no child can be started, or after ``stop`` or ``drain``."""
        outcome = next(self.run_many([work]), None)
        if outcome is None:
            raise EASError(f"attempt {work.attempt_id} was not begun, because the worker is stopping")
        return outcome

    def run_many(self, works: Iterable[Work]) -> Iterator[Outcome]:
        """Run attempts in their order, yielding each outcome as it comes.

        After ``stop`` or ``drain`` it ends early: attempts that it did not yield were not begun.
        Raises EASError if no child can be started.
        """
        source = iter(works)
        self._interrupts.pop(None, None)
        if self._child is not None:  # it may have been killed while it had nothing to do
            for message in self._child.wait(0.0):
                self._handle(self._child, message)
        try:
            while True:
                self._fill(source)
                if not self._flights and not self._outcomes:
                    return
                while not self._outcomes and self._flights:
                    self._advance()
                if self._outcomes:
                    yield self._outcomes.popleft()
        finally:
            if self._flights:  # the caller has gone away, or an error is on its way
                self._discard()
            self._flights.clear()
            self._outcomes.clear()

    def _fill(self, source: Iterator[Work]) -> None:
        """Send requests ahead, as many as the window takes."""
        if self._draining:
            return
        if self._child is not None and self._child.lost and not self._flights:
            self._discard()
        for work in itertools.islice(source, self._window - len(self._flights)):
            flight = Flight(work)
            self._flights.append(flight)
            if self._child is not None:
                self._child.send(flight.to_message())

    def _advance(self) -> None:
        """Wait for one thing to happen, and deal with it."""
        child = self._child or self._start_child()
        if child is None:
            return
        flight = self._flights[0]
        if child.ready and not flight.since:
            flight.begin(self._judging_limit(flight.work), _FIRST_SAMPLE)
        for message in child.wait(self._timeout(child, flight)):
            self._handle(child, message)
        self._call_tick()
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        if self._child is child and self._flights:
            self._supervise(child)

    def _timeout(self, child: WarmChild, flight: Flight) -> float:
        """Return the seconds until something is to be done even if nothing happens."""
        times = [self._next_tick]
        if not child.ready:
            times.append(self._start_deadline)
        elif flight.since:
            times += [flight.next_sample, *([] if flight.deadline is None else [flight.deadline])]
        return max(0.0, min(times) - time.monotonic())

    def _supervise(self, child: WarmChild) -> None:
        """End the running attempt if it is to be ended, and look at its memory."""
        if self._stop_reason is not None:
            return self._abort(child, self._stop_reason)
        if self._draining and not self._halted:
            self._halted = True
            child.send({"do": "halt"})
        if child.lost:
            return self._bury(child, "")
        if not child.ready:
            if time.monotonic() > self._start_deadline:
                self._bury(child, f"it was not ready after {_START_LIMIT:g} s")
            return None
        return self._limit(child, self._flights[0])

    def _limit(self, child: WarmChild, flight: Flight) -> None:
        """End ``flight`` if somebody asked for it, or if it takes too much time or memory."""
        if flight.work.attempt_id in self._interrupts or None in self._interrupts:
            reasons = [self._interrupts.pop(key, None) for key in (flight.work.attempt_id, None)]
            return self._abort(child, next(filter(None, reasons), "interrupted"))
        now = time.monotonic()
        if flight.since and flight.deadline is not None and now >= flight.deadline:
            return self._bury(child, f"ran longer than {flight.limit:g} s")
        if flight.since and now >= flight.next_sample:
            memory, cpu = sample(child.pid, flight.peak)
            flight.peak, flight.cpu = max(flight.peak, memory), max(flight.cpu, cpu - child.totals[0])
            done = time.monotonic()
            flight.next_sample = done + max(_SAMPLE_EVERY, (done - now) / _SAMPLE_SHARE)
            limit = self._options.memory_limit
            if limit is not None and memory > limit:
                return self._bury(child, f"used more than {limit:g} MB of memory")
        return None

    # -- messages ------------------------------------------------------------------------------

    def _handle(self, child: WarmChild, message: Message) -> None:
        said = message["say"]
        if said == "ready":
            child.ready, self._failed_starts = True, 0
            child.totals, child.resident = tuple(message["totals"]), message["resident"]
        elif said == "halted":
            self._flights.clear()
        elif not self._flights:
            return
        elif said == "log":
            self._flights[0].log.append(LogEntry(*message["entry"]))
        elif said == "ran":
            flight = self._flights[0]
            flight.ran = message
            flight.restrict(self._judging_limit(flight.work))
        elif said == "result" and message["id"] == self._flights[0].work.attempt_id:
            self._finish(child, message)

    def _finish(self, child: WarmChild, result: Message) -> None:
        flight = self._flights.popleft()
        self._scratch = flight.work.scratch
        child.totals = tuple(result["totals"])
        flight.log += child.output()
        retire = result["retire"]
        if retire.startswith("the task left"):
            flight.note(logging.WARNING, f"{retire}: ended with the child process")
        self._outcomes.append(flight.finish(result))
        self._interrupts.pop(flight.work.attempt_id, None)
        if retire:
            self._discard()
        elif self._flights:
            self._flights[0].begin(self._judging_limit(self._flights[0].work), _FIRST_SAMPLE)

    @staticmethod
    def _judging_limit(work: Work) -> float:
        return min(_JUDGING_LIMIT, work.time_limit or _JUDGING_LIMIT)

    # -- children ------------------------------------------------------------------------------

    def _start_child(self) -> WarmChild | None:
        """Start a child and send it all requests again; None if nothing is to be run any more."""
        if self._draining:  # what no child has begun will not be begun
            self._flights = deque(each for each in self._flights if each.operation == "check")
            if not self._flights:
                return None
        self._child = child = WarmChild(self._options)
        child.watch(self._wake_read)
        self._start_deadline = time.monotonic() + _START_LIMIT
        self._halted = self._draining
        for flight in self._flights:
            flight.since = 0.0
            child.send(flight.to_message())
        return child

    def _discard(self) -> None:
        """Kill the child, if there is one, and forget it."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close()
            if self._scratch is not None:
                remove(self._scratch)

    def _lose(self, child: WarmChild, aimed: bool) -> tuple[Flight | None, End]:
        """Kill the child; return the attempt that it was at, after all results that it still sent.

        Where the kill was ``aimed`` at an attempt that ended at that very moment, None is returned:
        the one after it is innocent, and goes to the next child.
        """
        target = self._flights[0]
        end = child.kill()
        self._child = None
        for message in list(child.receive()):
            self._handle(child, message)
        flight = self._flights[0] if self._flights else None
        if flight is not None and aimed and flight is not target:
            flight.log.clear()
            flight.ran, flight.began, flight.since = None, 0.0, 0.0
            flight = None
        if flight is not None:
            flight.log += child.output()
        child.close()
        return flight, end

    def _usage(self, flight: Flight, end: End) -> Usage:
        wall = time.monotonic() - flight.since if flight.since else 0.0
        return crash_usage(end, wall, flight.peak, flight.cpu)

    def _bury(self, child: WarmChild, cause: str) -> None:
        """Deal with a child that died, or that must be killed because of ``cause``."""
        flight, end = self._lose(child, aimed=bool(cause))
        if flight is None:
            return
        if not child.ready:
            self._count_failed_start(flight, cause or end.reason)
            return
        reason = cause or end.reason
        flight.note(logging.ERROR, reason)
        outcome = flight.crash(reason, self._usage(flight, end))
        if outcome is not None:
            self._flights.popleft()
            self._outcomes.append(outcome)
            remove(flight.work.scratch)

    def _abort(self, child: WarmChild, reason: str) -> None:
        child.ask_to_end(_GRACE)
        flight, end = self._lose(child, aimed=True)
        if flight is not None:
            self._flights.popleft()
            self._outcomes.append(flight.abort(reason, self._usage(flight, end)))
            remove(flight.work.scratch)
        if self._draining:
            self._flights.clear()

    def _count_failed_start(self, flight: Flight, reason: str) -> None:
        """Try again, or raise EASError when no child comes up at all."""
        self._failed_starts += 1
        if self._failed_starts >= _START_TRIES:
            said = " | ".join(entry.message for entry in flight.log[-2:])
            raise EASError(
                f"cannot start the worker's child process: {reason}; it said: {said or 'nothing'}",
                cure="see that `python -m eas.worker.child` can start on this host",
            )

    def _call_tick(self) -> None:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + self._tick
            if self._on_tick is not None:
                self._on_tick()
