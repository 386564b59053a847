"""Starts a job before the Prefect flow that displays it, because Prefect takes seconds to import and start."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from eas.orchestration.drive import Driver, Step
from eas.orchestration.local_workers import LocalWorkers
from eas.orchestration.orchestrator import Event


class EarlyStart:
    """Drives a job in a thread, with local workers, until a flow takes it over; a context manager.

    Entering the context starts the workers and takes the job's lease (LostLeaseError while another process
    drives the job). Leaving it stops the workers and releases the lease, also after ``take_over``.

    Parameters
    ----------
    workers:
        Not started yet; None for no local workers.
    """

    def __init__(self, driver: Driver, workers: LocalWorkers | None) -> None:
        self.driver = driver
        self.workers = workers
        self._events: list[Event] = []
        self._keep_events = True
        self._error: BaseException | None = None
        self._taken = threading.Event()
        self._stack = ExitStack()
        self._thread = threading.Thread(target=self._drive, name="early start", daemon=True)

    def __enter__(self) -> Self:
        with ExitStack() as started:
            # Workers first, because they take longest to start; leaving stops them before the lease is released.
            if self.workers is not None:
                started.enter_context(self.workers)
            self.driver.open()
            self._stack.callback(self.driver.close)
            self._stack.push(started.pop_all())
        self._thread.start()
        self._stack.callback(self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def take_over(self) -> list[Event]:
        """Stop the thread between two steps; return all events so far.

        The caller continues with ``driver``. Raises the exception that a step has raised.
        """
        self._stop()
        if self._error is not None:
            raise self._error
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """Wait until the job has ended or paused, if no flow takes it over. Raises the exception of a failed step."""
        self._keep_events, self._events = False, []
        while self._thread.is_alive():
            self._thread.join(0.5)  # a join without timeout cannot be interrupted by signals on some systems
        self.take_over()

    def close(self) -> None:
        """Stop driving, stop the workers and release the job's lease."""
        self._stack.close()

    @property
    def taken(self) -> bool:
        """Whether the thread has stopped, or been asked to stop, driving the job."""
        return self._taken.is_set()

    def _stop(self) -> None:
        self._taken.set()
        self.driver.wake()
        self._thread.join()

    def _drive(self) -> None:
        try:
            self.driver.run(self._between)
        except BaseException as error:
            self._error = error  # raised by ``take_over``

    def _between(self, step: Step) -> bool:
        if self._keep_events:
            self._events += step.events
        if self.workers is not None:
            self.workers.check()
        return self.taken
