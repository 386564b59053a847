"""The drive loop: advances a job step by step until there is nothing left for this process to do.

``Driver.run`` is the loop of everything that drives a job: ``eas run`` before its flow starts, ``Job.run``, the
supervisor, flows while Prefect's API is away, and the tests. The flow ``run-chain`` takes the same steps in an
asyncio loop, as one process may drive many jobs there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from eas.orchestration.orchestrator import Event, Orchestrator
from eas.wakeups import Listener, channel_of

FIRST_WAIT, LONGEST_WAIT = 0.02, 0.25
"""Wait between two steps [s]: short after something happened, and growing while nothing does."""
SHORTEST_WAIT = 0.005
"""Wait between two steps where a wake-up says that a task has ended [s]: what ends meanwhile is one step."""

RunJob = Callable[[int, threading.Event], None]
"""Drives one job, by id, until it has ended or paused, or the event is set; takes and releases the job's lease."""


class Step(NamedTuple):
    """What one step did, and how long to wait before the next one [s]."""

    events: list[Event]
    wait: float


class Driver:
    """Drives one orchestrator; as a context manager it takes the job's lease, and releases it.

    The orchestrator and its graph have no locks. ``open``, ``step`` and ``close`` may run in
    different threads, but never two of them at once, and the graph may be read only between them.

    Parameters
    ----------
    stop:
        When this is set, ``step`` returns None: the job is left for another process.
    """

    def __init__(self, orchestrator: Orchestrator, stop: threading.Event | None = None) -> None:
        self.orchestrator = orchestrator
        self.stop = stop or threading.Event()
        self._wait = FIRST_WAIT
        self._listener: Listener | None = None

    def open(self) -> None:
        """Take the job's lease and load it. Raises LostLeaseError while another process drives the job."""
        self.orchestrator.open()
        self._listener = self.orchestrator.database.wakeups.listen(channel_of(self.orchestrator.job_id))

    def close(self) -> None:
        """Release the job's lease."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self.orchestrator.close()

    def step(self) -> Step | None:
        """Advance the job once; None when it has ended, paused on withdrawn tasks, or ``stop`` is set."""
        job = self.orchestrator
        if job.finished or job.paused_on_held_tasks or self.stop.is_set():
            return None
        events = job.step()
        self._wait = FIRST_WAIT if events else min(self._wait * 1.5, LONGEST_WAIT)
        return Step(events, 0.0 if job.finished or job.busy else self._wait)

    def wait(self, step: Step) -> None:
        """Wait for the time of the next step: earlier than it says if a worker of this machine has ended a task."""
        if step.wait > 0:
            listener = self.listener
            time.sleep(SHORTEST_WAIT)
            listener.wait(step.wait - SHORTEST_WAIT)

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        if (listener := self._listener) is not None:
            listener.wake()

    @property
    def listener(self) -> Listener:
        """What is woken when a worker of this machine has ended a task of the job. Only while it is open."""
        if self._listener is None:
            raise RuntimeError("the driver is not open")
        return self._listener

    def run(self, between: Callable[[Step], bool | None] = lambda step: None) -> bool:
        """Advance the job until ``step`` returns None, or ``between``, called after each step, returns True.

        Returns whether ``between`` ended it.
        """
        while (step := self.step()) is not None:
            if between(step):
                return True
            self.wait(step)
        return False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def job_runner(orchestrator: Callable[[int], Orchestrator]) -> RunJob:
    """Return a function that drives one job, with the orchestrator that ``orchestrator`` returns for its id."""

    def run(job_id: int, stop: threading.Event) -> None:
        with Driver(orchestrator(job_id), stop) as driver:
            driver.run()

    return run
