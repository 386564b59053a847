"""The drive loop: advances a job step by step until it has ended, paused, or must be released.

All drivers of a job use ``Driver.run``: ``eas run`` before its flow starts, ``Job.run``, the supervisor, flows
while Prefect's API is unavailable, and the tests. The flow ``run-chain`` calls ``step`` from its own asyncio
loop, because one process may run several such flows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from eas.orchestration.orchestrator import Event, Orchestrator
from eas.wakeups import Listener, channel_of

MIN_IDLE_WAIT, MAX_IDLE_WAIT = 0.02, 0.25
"""Wait between two steps [s]: the first after a step with events, growing to the longest while there are none."""
COALESCE_WAIT = 0.005
"""Minimum wait [s] even if a wake-up reports an ended task, so that one step handles several ended tasks."""

RunJob = Callable[[int, threading.Event], None]
"""Drives one job, by id, until it has ended or paused, or the event is set; takes and releases the job's lease."""


class Step(NamedTuple):
    """The events of one step, and the time to wait before the next one [s]."""

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
        self._wait = MIN_IDLE_WAIT
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
        if job.finished or job.paused_on_withdrawn_tasks or self.stop.is_set():
            return None
        events = job.step()
        self._wait = MIN_IDLE_WAIT if events else min(self._wait * 1.5, MAX_IDLE_WAIT)
        return Step(events, 0.0 if job.finished or job.busy else self._wait)

    def wait(self, step: Step) -> None:
        """Wait until the next step is due; return earlier if a worker on this machine reports an ended task."""
        if step.wait > 0:
            listener = self.listener
            time.sleep(COALESCE_WAIT)
            listener.wait(step.wait - COALESCE_WAIT)

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        if (listener := self._listener) is not None:
            listener.wake()

    @property
    def listener(self) -> Listener:
        """Listener that is notified when a worker on this machine has ended a task of the job. Requires ``open``."""
        if self._listener is None:
            raise RuntimeError("the driver is not open")
        return self._listener

    def run(self, on_step: Callable[[Step], bool | None] = lambda step: None) -> bool:
        """Advance the job until ``step`` returns None, or ``on_step``, called after each step, returns True.

        Returns whether ``on_step`` ended the loop.
        """
        while (step := self.step()) is not None:
            if on_step(step):
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
