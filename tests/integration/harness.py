"""A whole system on a folder of its own: sqlite, SQL queue, a worker in a thread, an orchestrator."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from eas.app import App
from eas.chains.grammar import parse_chain
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.orchestration.drive import Driver
from eas.orchestration.job_summary import JobSummary, summarise
from eas.orchestration.orchestrator import Event, Orchestrator
from eas.settings import Settings
from eas.worker.worker import WorkerOptions

TIMEOUT = 60.0


class System:
    """Drives jobs the way the flow does, without Prefect."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.app = App(Settings(home=folder, **settings))

    def submit(
        self, chain: dict[str, Any] | list[Any], name: str = "test", *, to_drive: bool = False, **options: Any
    ) -> int:
        document = chain if isinstance(chain, dict) else {"job_name": name, "task_list": chain}
        document = {"job_name": name, "working_directory": "wd"} | document
        parsed = parse_chain(json.dumps(document), f"{name}.json", self.app.registry)
        return submit(self.app.database, self.app.registry, parsed, SubmitOptions(**options), to_drive=to_drive)

    @contextmanager
    def worker(self) -> Iterator[None]:
        worker = self.app.worker(WorkerOptions(tuple(self.app.registry.installed_worker_types())))
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(TIMEOUT)
            assert not thread.is_alive()

    def drive(
        self, *jobs: int, until: Callable[[Orchestrator], bool] = lambda _: False, steps: int | None = None
    ) -> list[Event]:
        """Drive jobs side by side until they are over or paused, or a condition holds for one of them."""
        events: list[Event] = []
        deadline = time.monotonic() + TIMEOUT
        with ExitStack() as stack:
            drivers = [stack.enter_context(Driver(self.app.orchestrator(job))) for job in jobs]
            while drivers and steps != 0:
                assert time.monotonic() < deadline, [dict(each.orchestrator.graph.counts) for each in drivers]
                for each in list(drivers):
                    step = each.step()
                    if step is None:
                        drivers.remove(each)
                    else:
                        events += step.events
                    if until(each.orchestrator):
                        return events
                steps = None if steps is None else steps - 1
                time.sleep(0.005)
        return events

    def run(self, chain: dict[str, Any] | list[Any], **options: Any) -> JobSummary:
        job = self.submit(chain, **options)
        with self.worker():
            self.drive(job)
        return self.summary(job)

    def summary(self, job: int) -> JobSummary:
        return summarise(self.app.database, job)

    def rows(self, query: Any) -> list[Any]:
        with self.app.database.read() as connection:
            return list(connection.execute(query).all())
