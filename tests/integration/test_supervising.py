"""The supervisor without Prefect: it runs what nobody drives, whatever happens to it or to single jobs."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from sqlalchemy import select, update

from eas.control import supervisor as module
from eas.control.cancel import cancel
from eas.control.empty_queue import empty_queue
from eas.control.reschedule import reschedule
from eas.control.supervisor import RunJob, Supervisor, SupervisorOptions, driver_of
from eas.errors import LostLeaseError, ServiceError
from eas.taskdb import tables
from tests.integration.harness import PATIENCE, System

NULL: dict[str, Any] = {"task": "null", "duration": 0}


def loop(count: int, *body: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": "execution_for_loop",
        "parameter": "i",
        "values": list(range(count)),
        "task_list": list(body) or [NULL],
    }


def supervisor_of(system: System, run_job: RunJob | None = None, **options: Any) -> Supervisor:
    given = {"until_idle": 0.3, "time_limit": PATIENCE} | options
    app = system.app
    return Supervisor(app.database, app.queue, run_job or driver_of(app.orchestrator), SupervisorOptions(**given))


def drivers(system: System) -> list[str | None]:
    return [row.driver for row in system.rows(select(tables.jobs.c.driver).order_by(tables.jobs.c.id))]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.05)
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.1)


def test_it_runs_all_jobs_and_leaves_when_there_is_none(system: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eas.supervisor")
    jobs = [system.submit([loop(5)], name=f"job-{number}") for number in range(3)]
    jobs.append(system.submit([{"task": "error"}], name="bad"))
    with system.worker():
        account = supervisor_of(system).run()
    assert (account.done, account.failed, account.troubles) == (3, 1, 0)
    assert [system.summary(job).state for job in jobs] == ["done", "done", "done", "failed"]
    assert drivers(system) == [None] * 4
    assert "job 1 (job-0): done; 5 of 5 tasks done" in caplog.text


def test_priority_comes_first_then_age_and_never_too_many_at_once(system: System) -> None:
    for priority in (0, 5, 0, 9):
        system.submit([NULL], name=f"p{priority}", priority=priority)
    drive = driver_of(system.app.orchestrator)
    begun: list[int] = []
    at_once = [0, 0]

    def run(job_id: int, stop: threading.Event) -> None:
        begun.append(job_id)
        at_once[0] += 1
        at_once[1] = max(at_once)
        drive(job_id, stop)
        at_once[0] -= 1

    with system.worker():
        supervisor_of(system, run, most_jobs=1).run()
    assert begun == [4, 2, 1, 3]
    assert at_once[1] == 1


def test_two_at_once_do_no_harm(system: System) -> None:
    jobs = [system.submit([loop(6)], name=f"job-{number}") for number in range(6)]
    pair = [supervisor_of(system) for _ in range(2)]
    threads = [threading.Thread(target=each.run) for each in pair]
    with system.worker():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert all(system.summary(job).succeeded for job in jobs)
    assert sum(each.account.troubles for each in pair) == 0
    attempts = system.rows(select(tables.attempts.c.task_id))
    assert len(attempts) == len(set(attempts)) == 36


def test_trouble_with_one_job_stops_no_other_and_is_tried_again_ever_later(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = system.submit([NULL], name="bad"), system.submit([NULL], name="good")
    drive = driver_of(system.app.orchestrator)
    tries: list[float] = []

    def run(job_id: int, stop: threading.Event) -> None:
        if job_id == bad:
            tries.append(time.monotonic())
            if len(tries) < 4:
                raise RuntimeError("a bug, for instance")
        drive(job_id, stop)

    with system.worker():
        account = supervisor_of(system, run).run()
    assert system.summary(bad).succeeded
    assert system.summary(good).succeeded
    assert account.troubles == 3
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert [pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True)] == [True] * 3
    assert "job 1 cannot be run; once more in 0 s: a bug, for instance" in caplog.text


def test_a_row_that_cannot_be_read_stops_no_other_job(system: System) -> None:
    bad, good = system.submit([NULL], name="bad"), system.submit([NULL], name="good")
    broken = update(tables.jobs).where(tables.jobs.c.id == bad).values(chain="{")
    system.app.database.transact(lambda c: c.execute(broken))
    with system.worker():
        account = supervisor_of(system, until_idle=None, time_limit=3.0).run()
    assert system.summary(good).succeeded
    assert account.troubles >= 2
    assert drivers(system) == [None, None]


def test_a_job_that_somebody_drives_is_left_alone_until_that_one_is_gone(system: System) -> None:
    job = system.submit([NULL])
    other = system.app.orchestrator(job)
    other.open()
    with system.worker():
        supervisor_of(system, until_idle=None, time_limit=0.5).run()
        assert system.summary(job).leaves == {}
        other.close()
        supervisor_of(system).run()
    assert system.summary(job).succeeded


def test_the_job_of_a_dead_process_of_this_machine_is_taken_at_once(system: System) -> None:
    job = system.submit([NULL])
    code = "from eas.control.machine import process_name; print(process_name())"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    left = update(tables.jobs).values(driver=name, driver_seen_at=time.time())
    system.app.database.transact(lambda c: c.execute(left))
    with system.worker():
        supervisor_of(system).run()
    assert system.summary(job).succeeded


def test_told_to_stop_it_gives_back_its_jobs(system: System) -> None:
    job = system.submit([{"task": "null", "duration": 3600}])
    one = supervisor_of(system, until_idle=None)
    thread = threading.Thread(target=one.run)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not system.summary(job).leaves.get("queued"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert drivers(system) != [None]
    one.stop.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert drivers(system) == [None]
    assert system.summary(job).state == "running"


def test_what_its_check_raises_ends_it_and_gives_back_the_jobs(system: System) -> None:
    system.submit([{"task": "null", "duration": 3600}])

    def check() -> None:
        if any(drivers(system)):
            raise ServiceError("its workers are beyond help")

    app = system.app
    one = Supervisor(app.database, app.queue, driver_of(app.orchestrator), check=check)
    with pytest.raises(ServiceError, match="beyond help"):
        one.run()
    assert drivers(system) == [None]


def test_a_job_whose_tasks_were_taken_off_rests_and_is_taken_up_again(system: System) -> None:
    job = system.submit([loop(3)])
    system.drive(job, steps=1)
    empty_queue(system.app.database, system.app.queue)
    one = supervisor_of(system, until_idle=None)
    thread = threading.Thread(target=one.run)
    with system.worker():
        thread.start()
        deadline = time.monotonic() + PATIENCE
        while not one._resting:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert drivers(system) == [None]
        supervisor_of(system).run()  # to another one it is nothing to wait for
        reschedule(system.app.database, system.app.queue)
        while not system.summary(job).succeeded:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        one.stop.set()
        thread.join(PATIENCE)
    assert one.account.troubles == 0


def test_a_cancelled_job_is_left(system: System) -> None:
    job = system.submit([{"task": "null", "duration": 3600}])
    one = supervisor_of(system)
    thread = threading.Thread(target=one.run)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not system.summary(job).leaves.get("queued"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cancel(system.app.database, system.app.queue, job)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert (one.account.cancelled, one.account.troubles) == (1, 0)


def test_a_lost_lease_is_no_trouble(system: System) -> None:
    job = system.submit([NULL])
    drive = driver_of(system.app.orchestrator)
    tries: list[int] = []

    def run(job_id: int, stop: threading.Event) -> None:
        tries.append(job_id)
        if len(tries) == 1:
            raise LostLeaseError("another one was quicker")
        drive(job_id, stop)

    with system.worker():
        account = supervisor_of(system, run).run()
    assert system.summary(job).succeeded
    assert account.troubles == 0


def test_a_job_whose_submitter_is_about_to_drive_it_is_left_to_it(system: System) -> None:
    job = system.submit([NULL], to_drive=True)
    account = supervisor_of(system, time_limit=0.6).run()
    assert (account.done, account.failed, account.troubles) == (0, 0, 0)
    assert system.summary(job).state == "submitted"
    with system.worker():
        system.drive(job)
    assert system.summary(job).state == "done"
