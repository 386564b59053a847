"""Starts the work of a job before the flow that shows it: Prefect takes seconds to import and to start."""

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

    As the block begins the workers start and the job's lease is taken (LostLeaseError while another
    process drives the job). As it ends, the workers are stopped and the lease is released, also after
    ``take_over``.

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
            # First the workers, which take longest to start; they are stopped before the lease is released.
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
        """Stop driving, between two steps; return what has happened so far.

        The caller drives the job on with ``driver``. Raises what a step has raised.
        """
        self._stop()
        if self._error is not None:
            raise self._error
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """Wait until the job has ended or paused; no flow will take it over. Raises what a step raises."""
        self._keep_events, self._events = False, []
        while self._thread.is_alive():
            self._thread.join(0.5)  # without a limit, no signal would end the wait on some systems
        self.take_over()

    def close(self) -> None:
        """Stop driving, stop the workers and release the job's lease."""
        self._stack.close()

    @property
    def taken(self) -> bool:
        """Whether it does not drive the job any more."""
        return self._taken.is_set()

    def _stop(self) -> None:
        self._taken.set()
        self.driver.wake()
        self._thread.join()

    def _drive(self) -> None:
        try:
            self.driver.run(self._between)
        except BaseException as error:
            self._error = error  # raised where the flow takes the job over

    def _between(self, step: Step) -> bool:
        if self._keep_events:
            self._events += step.events
        if self.workers is not None:
            self.workers.check()
        return self.taken
