"""The supervisor without Prefect: it runs every job that no process drives, in spite of failures."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from eas.errors import LostLeaseError, ServiceError
from eas.operations.cancel import cancel
from eas.operations.empty_queue import empty_queue
from eas.operations.reschedule import reschedule
from eas.orchestration import supervisor as module
from eas.orchestration.drive import RunJob, job_runner
from eas.orchestration.supervisor import Supervisor, SupervisorOptions
from eas.taskdb import tables
from eas.taskdb.queries.reports import Filters, snapshot, unattempted_failures
from eas.taskdb.service_lease import SUPERVISOR, ServiceLease, is_alive
from eas.wakeups import JOBS
from tests.integration.harness import TIMEOUT, System
from tests.processes import wait_for

NULL: dict[str, Any] = {"task": "null", "duration": 0}


def loop(count: int, *body: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": "execution_for_loop",
        "parameter": "i",
        "values": list(range(count)),
        "task_list": list(body) or [NULL],
    }


def supervisor_of(system: System, run_job: RunJob | None = None, **options: Any) -> Supervisor:
    given = {"until_idle": 0.3, "time_limit": TIMEOUT} | options
    app = system.app
    return Supervisor(app.database, app.queue, run_job or job_runner(app.orchestrator), SupervisorOptions(**given))


def drivers(system: System) -> list[str | None]:
    return [row.driver for row in system.rows(select(tables.jobs.c.driver).order_by(tables.jobs.c.id))]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(module, "MIN_RETRY_DELAY", 0.1)


def test_it_runs_all_jobs_and_leaves_when_there_is_none(system: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eas.supervisor")
    jobs = [system.submit([loop(5)], name=f"job-{number}") for number in range(3)]
    jobs.append(system.submit([{"task": "error"}], name="bad"))
    with system.worker():
        stats = supervisor_of(system).run()
    assert (stats.done, stats.failed, stats.errors) == (3, 1, 0)
    assert [system.summary(job).state for job in jobs] == ["done", "done", "done", "failed"]
    assert drivers(system) == [None] * 4
    assert "job 1 (job-0): done; 5 of 5 tasks done" in caplog.text


def test_priority_comes_first_then_age_and_never_too_many_at_once(system: System) -> None:
    for priority in (0, 5, 0, 9):
        system.submit([NULL], name=f"p{priority}", priority=priority)
    drive = job_runner(system.app.orchestrator)
    begun: list[int] = []
    at_once = [0, 0]

    def run(job_id: int, stop: threading.Event) -> None:
        begun.append(job_id)
        at_once[0] += 1
        at_once[1] = max(at_once)
        drive(job_id, stop)
        at_once[0] -= 1

    with system.worker():
        supervisor_of(system, run, max_jobs=1).run()
    assert begun == [4, 2, 1, 3]
    assert at_once[1] == 1


def test_the_end_of_a_job_and_a_submission_are_noticed_at_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL", 10 * TIMEOUT)
    for number in range(3):
        system.submit([NULL], name=f"job-{number}")
    stop = threading.Event()
    app = system.app
    options = SupervisorOptions(max_jobs=1)
    supervisor = Supervisor(app.database, app.queue, job_runner(app.orchestrator), options, stop=stop)
    thread = threading.Thread(target=supervisor.run)
    with system.worker():
        thread.start()
        wait_for(lambda: supervisor.stats.done == 3, "the jobs")
        system.submit([NULL], name="later")
        wait_for(lambda: supervisor.stats.done == 4, "the job that was submitted later")
    stop.set()
    app.database.wakeups.notify(JOBS)
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_a_look_that_an_outage_delayed_does_not_delay_the_next_ones(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervisor_of(system)
    monkeypatch.setattr(supervisor, "_find_jobs", lambda: True)
    monkeypatch.setattr(module.time, "monotonic", lambda: 60.0)
    supervisor._poll(0.0)
    assert supervisor._next_poll <= 60.0 + module.MAX_POLL_INTERVAL


def test_a_job_that_another_process_has_taken_since_the_look_is_left_to_it(system: System) -> None:
    for number in range(3):
        system.submit([NULL], name=f"job-{number}")
    drive = job_runner(system.app.orchestrator)
    begun: list[int] = []

    def run(job_id: int, stop: threading.Event) -> None:
        begun.append(job_id)
        if len(begun) == 1:
            drive(3, threading.Event())
        drive(job_id, stop)

    with system.worker():
        stats = supervisor_of(system, run, max_jobs=1).run()
    assert begun == [1, 2]
    assert (stats.done, stats.errors) == (2, 0)


def test_two_at_once_do_no_harm(system: System) -> None:
    jobs = [system.submit([loop(6)], name=f"job-{number}") for number in range(6)]
    pair = [supervisor_of(system) for _ in range(2)]
    threads = [threading.Thread(target=each.run) for each in pair]
    with system.worker():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
    assert all(system.summary(job).succeeded for job in jobs)
    assert sum(each.stats.errors for each in pair) == 0
    attempts = system.rows(select(tables.attempts.c.task_id))
    assert len(attempts) == len(set(attempts)) == 36


def test_trouble_with_one_job_stops_no_other_and_is_tried_again_ever_later(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = system.submit([NULL], name="bad"), system.submit([NULL], name="good")
    drive = job_runner(system.app.orchestrator)
    tries: list[float] = []

    def run(job_id: int, stop: threading.Event) -> None:
        if job_id == bad:
            tries.append(time.monotonic())
            if len(tries) < 4:
                raise RuntimeError("a bug, for instance")
        drive(job_id, stop)

    with system.worker():
        stats = supervisor_of(system, run).run()
    assert system.summary(bad).succeeded
    assert system.summary(good).succeeded
    assert stats.errors == 3
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert [pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True)] == [True] * 3
    assert "job 1 cannot be run; next attempt in 0 s: RuntimeError: a bug, for instance" in caplog.text


def test_a_row_that_cannot_be_read_stops_no_other_job(system: System) -> None:
    bad, good = system.submit([NULL], name="bad"), system.submit([NULL], name="good")
    broken = update(tables.jobs).where(tables.jobs.c.id == bad).values(chain="{")
    system.app.database.transact(lambda c: c.execute(broken))
    with system.worker():
        stats = supervisor_of(system, until_idle=None, time_limit=3.0).run()
    assert system.summary(good).succeeded
    assert stats.errors >= 2
    assert drivers(system) == [None, None]


def test_a_job_that_another_process_drives_is_left_alone_until_that_one_is_gone(system: System) -> None:
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
    code = "from eas.maintenance.process_identity import process_name; print(process_name())"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    left = update(tables.jobs).values(driver=name, driver_seen_at=time.time())
    system.app.database.transact(lambda c: c.execute(left))
    with system.worker():
        supervisor_of(system).run()
    assert system.summary(job).succeeded


def test_on_stop_it_releases_its_jobs(system: System) -> None:
    job = system.submit([{"task": "null", "duration": 3600}])
    one = supervisor_of(system, until_idle=None)
    thread = threading.Thread(target=one.run)
    thread.start()
    deadline = time.monotonic() + TIMEOUT
    while not system.summary(job).leaves.get("queued"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert drivers(system) != [None]
    one.stop.set()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert drivers(system) == [None]
    assert system.summary(job).state == "running"


def test_what_its_check_raises_ends_it_and_gives_back_the_jobs(system: System) -> None:
    system.submit([{"task": "null", "duration": 3600}])

    def check() -> None:
        if any(drivers(system)):
            raise ServiceError("its workers are beyond help")

    app = system.app
    one = Supervisor(app.database, app.queue, job_runner(app.orchestrator), check=check)
    with pytest.raises(ServiceError, match="beyond help"):
        one.run()
    assert drivers(system) == [None]


def test_a_job_whose_tasks_were_withdrawn_pauses_and_is_resumed(system: System) -> None:
    job = system.submit([loop(3)])
    system.drive(job, steps=1)
    empty_queue(system.app.database, system.app.queue)
    one = supervisor_of(system, until_idle=None)
    thread = threading.Thread(target=one.run)
    with system.worker():
        thread.start()
        deadline = time.monotonic() + TIMEOUT
        while not one._paused:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert drivers(system) == [None]
        supervisor_of(system).run()  # to another one it is nothing to wait for
        reschedule(system.app.database, system.app.queue)
        while not system.summary(job).succeeded:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        one.stop.set()
        thread.join(TIMEOUT)
    assert one.stats.errors == 0


def test_a_cancelled_job_is_left(system: System) -> None:
    job = system.submit([{"task": "null", "duration": 3600}])
    one = supervisor_of(system)
    thread = threading.Thread(target=one.run)
    thread.start()
    deadline = time.monotonic() + TIMEOUT
    while not system.summary(job).leaves.get("queued"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cancel(system.app.database, system.app.queue, job)
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert (one.stats.cancelled, one.stats.errors) == (1, 0)


def test_a_lost_lease_is_no_trouble(system: System) -> None:
    job = system.submit([NULL])
    drive = job_runner(system.app.orchestrator)
    tries: list[int] = []

    def run(job_id: int, stop: threading.Event) -> None:
        tries.append(job_id)
        if len(tries) == 1:
            raise LostLeaseError("another one was quicker")
        drive(job_id, stop)

    with system.worker():
        stats = supervisor_of(system, run).run()
    assert system.summary(job).succeeded
    assert stats.errors == 0


def test_a_job_whose_submitter_is_about_to_drive_it_is_left_to_it(system: System) -> None:
    job = system.submit([NULL], to_drive=True)
    stats = supervisor_of(system, time_limit=0.6).run()
    assert (stats.done, stats.failed, stats.errors) == (0, 0, 0)
    assert system.summary(job).state == "submitted"
    with system.worker():
        system.drive(job)
    assert system.summary(job).state == "done"


def broken(system: System, job: int) -> None:
    """Let the orchestrator of a job fail whenever it loads the job."""
    chain = update(tables.jobs).where(tables.jobs.c.id == job).values(chain="{")
    system.app.database.transact(lambda c: c.execute(chain))


def test_a_job_whose_orchestrator_fails_for_the_same_reason_again_and_again_is_failed(system: System) -> None:
    job = system.submit([NULL])
    broken(system, job)
    stats = supervisor_of(system).run()
    summary = system.summary(job)
    assert (summary.state, stats.failed, stats.errors) == ("failed", 1, module.MAX_EQUAL_FAILURES)
    assert "failed 5 times without progress: test.json: 1 problem in this task chain" in summary.failures[0].reason
    with snapshot(system.app.database) as connection:
        rows = [row for part in unattempted_failures(connection, Filters()) for row in part]
    assert [row.job_id for row in rows] == [job]
    assert drivers(system) == [None]


def test_a_job_that_failed_so_while_its_tasks_were_queued_is_put_back_by_reschedule(system: System) -> None:
    job = system.submit([loop(3), {"task": "execution_conditional", "criterion": True, "task_list": [NULL]}])
    chain = system.rows(select(tables.jobs.c.chain))[0].chain
    system.drive(job, steps=1)
    broken(system, job)
    supervisor_of(system).run()
    summary = system.summary(job)
    assert (summary.state, summary.leaves) == ("failed", {"blocked": 4})
    assert not system.rows(select(tables.attempts.c.id).where(tables.attempts.c.state == "queued"))
    mended = update(tables.jobs).values(chain=chain)
    system.app.database.transact(lambda c: c.execute(mended))
    reschedule(system.app.database, system.app.queue)
    with system.worker():
        supervisor_of(system).run()
    assert system.summary(job).leaves == {"done": 4}
    assert system.summary(job).succeeded


def test_an_outage_never_makes_a_job_failed(system: System) -> None:
    job = system.submit([NULL])

    def run(job_id: int, stop: threading.Event) -> None:
        raise ServiceError("the task database cannot be reached")

    one = supervisor_of(system, run)
    for _ in range(2 * module.MAX_EQUAL_FAILURES):
        one._run_one(job, 0)
    assert one.stats.errors == 2 * module.MAX_EQUAL_FAILURES
    assert system.summary(job).state == "submitted"


def test_failures_with_progress_in_between_do_not_make_a_job_failed(system: System) -> None:
    job = system.submit([loop(8)])
    system.drive(job, steps=1)
    leaves = [row.id for row in system.rows(select(tables.tasks.c.id).where(tables.tasks.c.task_type == "null"))]
    one = supervisor_of(system, lambda job_id, stop: system.drive(-1))
    for leaf in leaves:
        progress = update(tables.tasks).where(tables.tasks.c.id == leaf).values(state="done")
        system.app.database.transact(lambda c, change=progress: c.execute(change))
        one._run_one(job, 0)
    assert one.stats.errors == 8
    assert system.summary(job).state == "running"


def test_a_service_lease_has_one_holder_and_passes_on_when_it_is_not_renewed(system: System) -> None:
    first, second = (ServiceLease(system.app.database, "service", 0.5) for _ in range(2))
    assert first.hold()
    assert first.hold()
    assert not second.hold()
    time.sleep(0.6)
    assert second.hold()
    assert not first.hold()
    second.release()
    assert first.hold()


def test_waiting_for_a_service_lease_ends_when_its_holder_lives_or_is_gone(system: System) -> None:
    first, second = (ServiceLease(system.app.database, "service", 1.0) for _ in range(2))
    assert first.hold()
    assert second.wait(lambda _: not first.hold()) is False

    def pause(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    assert second.wait(pause) is True


def test_a_supervisor_shows_that_it_is_alive(system: System) -> None:
    def alive() -> bool:
        now = system.app.database.now()
        return bool(system.app.database.fetch(lambda c: is_alive(c, SUPERVISOR, now)))

    system.submit([{"task": "null", "duration": 3600}])
    one = supervisor_of(system, until_idle=None)
    assert not alive()
    thread = threading.Thread(target=one.run)
    thread.start()
    wait_until(alive)
    one.stop.set()
    thread.join(TIMEOUT)
    assert not alive()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
