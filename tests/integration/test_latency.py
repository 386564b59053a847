"""Who waits is woken by what another process commits, and an idle worker leaves the database alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import event

from eas.operations.pause import pause, resume
from eas.orchestration.drive import Driver, Step
from eas.queues import sql
from eas.queues.sql import SQLQueue
from eas.taskdb import attempt_claims
from eas.taskdb.attempt_claims import AttemptClaims
from tests.contract.chains import claimed_ids, new_worker, queue_tasks
from tests.integration.harness import System

LONG = 3600.0
"""A wait that only a wake-up ends [s]."""


@pytest.fixture
def other(system: System, tmp_path: Path) -> System:
    """The same system as another process sees it."""
    assert system.app.database
    return System(tmp_path)


def test_a_worker_with_nothing_to_do_is_woken_by_whoever_queues_something(
    system: System, other: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MIN_POLL_INTERVAL", LONG)
    monkeypatch.setattr(sql, "MAX_POLL_INTERVAL", LONG)
    worker = new_worker(system.app.database, "w")
    queue = SQLQueue(AttemptClaims(system.app.database))
    assert claimed_ids(queue, worker, ["null"], 1, 0.001) == []
    claimed: list[int] = []
    thread = threading.Thread(target=lambda: claimed.extend(claimed_ids(queue, worker, ["null"], 1, LONG)))
    thread.start()
    queued = queue_tasks(other.app.database, ["null"])
    other.app.queue.publish(queued)
    thread.join()
    assert claimed == [queued[0].attempt_id]
    queue.close()
    other.app.close()


def test_a_worker_that_was_idle_does_not_look_each_time_that_it_waits(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MIN_POLL_INTERVAL", LONG)
    monkeypatch.setattr(sql, "MAX_POLL_INTERVAL", LONG)
    worker = new_worker(system.app.database, "w")
    queue = SQLQueue(AttemptClaims(system.app.database))
    claimed_ids(queue, worker, ["null"], 1, 0.001)
    statements: list[str] = []
    event.listen(system.app.database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for _ in range(5):
        assert claimed_ids(queue, worker, ["null"], 1, 0.001) == []
    assert [each for each in statements if each != "BEGIN"] == []
    queued = queue_tasks(system.app.database, ["null"])
    queue.publish(queued)
    assert claimed_ids(queue, worker, ["null"], 1, LONG) == [queued[0].attempt_id]
    queue.close()


def test_the_waits_of_an_idle_worker_grow_to_two_seconds_and_a_find_makes_them_short_again() -> None:
    idle = sql._PollState(None)  # type: ignore[arg-type]
    waits = []
    for _ in range(10):
        idle.record_empty(woken=False)
        waits.append(idle._wait)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.02, 2.0)
    idle.record_success()
    assert idle.next_poll == 0.0
    idle.record_empty(woken=True)
    assert idle._wait == 0.01


def test_a_claim_that_waits_ends_when_the_worker_is_to_leave(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "MIN_POLL_INTERVAL", LONG)
    monkeypatch.setattr(sql, "MAX_POLL_INTERVAL", LONG)
    worker = new_worker(system.app.database, "w")
    queue = SQLQueue(AttemptClaims(system.app.database))
    thread = threading.Thread(target=lambda: claimed_ids(queue, worker, ["null"], 1, LONG))
    thread.start()
    while thread.is_alive():
        queue.wake()
        thread.join(0.01)
    queue.close()


def test_the_driver_of_a_job_is_woken_when_a_worker_has_ended_a_task(system: System) -> None:
    job = system.submit([{"task": "null", "duration": 0}])
    with Driver(system.app.orchestrator(job)) as driver:
        driver.step()
        with system.worker():
            driver.wait(Step([], LONG))
        step = driver.step()
        assert step is not None
        assert step.events
    assert system.summary(job).succeeded


def test_paused_types_are_left_out_of_what_comes_next(system: System) -> None:
    database = system.app.database
    first = queue_tasks(database, ["null"])
    pause(database, ["null"])
    with database.read() as connection:
        assert attempt_claims.next_queued(connection, ["null", "error"], 5, database.now()) == []
    resume(database, system.app.queue, ["null"])
    with database.read() as connection:
        (found,) = attempt_claims.next_queued(connection, ["null", "error"], 5, database.now())
    assert found.id == first[0].attempt_id
