"""A job that has been started before Prefect was there, and the flow that takes it over."""

from __future__ import annotations

import pytest

from eas.errors import EASError, LostLeaseError
from eas.orchestration.drive import Driver
from eas.orchestration.early_start import EarlyStart
from eas.orchestration.orchestrator import EventKind
from eas.taskdb import jobs
from tests.integration.harness import System
from tests.processes import wait_for

TASKS = [{"task": "null", "name": f"n{number}", "duration": 0} for number in range(3)]


def early_start(system: System, job: int) -> EarlyStart:
    return EarlyStart(Driver(system.app.orchestrator(job)), None)


def test_the_flow_gets_what_happened_and_drives_on(system: System) -> None:
    job = system.submit(TASKS)
    with system.worker(), early_start(system, job) as early:
        wait_for(lambda: system.summary(job).leaves.get("done"), "a first task")
        assert not early.taken
        events = early.take_over()
        assert early.taken
        # Nothing moves the job between the two.
        before = dict(early.driver.orchestrator.graph.counts)
        assert early.driver.orchestrator.graph.counts == before
        early.driver.run(lambda step: events.extend(step.events))
    queued = [event.node.task_id for event in events if event.what is EventKind.QUEUED]
    settled = [event.node.task_id for event in events if event.what is EventKind.SETTLED]
    assert len(queued) == len(set(queued)) == 3
    assert len(settled) == len(set(settled)) == 4
    assert system.summary(job).succeeded


def test_a_job_that_no_flow_takes_over_ends_as_well(system: System) -> None:
    job = system.submit(TASKS)
    with system.worker(), early_start(system, job) as early:
        early.finish()
    assert system.summary(job).succeeded


def test_an_early_start_that_ends_releases_the_job(system: System) -> None:
    job = system.submit(TASKS)
    with early_start(system, job), pytest.raises(LostLeaseError):
        system.app.orchestrator(job).open()
    with system.app.database.read() as connection:
        assert jobs.get(connection, job).driver is None


def test_whoever_takes_over_gets_the_error_of_a_step(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    job = system.submit(TASKS)
    early = early_start(system, job)

    def fails() -> None:
        raise EASError("the database is gone")

    monkeypatch.setattr(early.driver, "step", fails)
    with early:
        with pytest.raises(EASError, match="the database is gone"):
            early.finish()
        with pytest.raises(EASError, match="the database is gone"):
            early.take_over()
