"""What operators do to jobs: reschedule, empty the queue, pause, cancel; with and without a living orchestrator."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select, update

from eas.errors import LostLeaseError, RequestError, UnknownJobError, UnknownTaskTypeError
from eas.operations.cancel import cancel
from eas.operations.empty_queue import empty_queue
from eas.operations.pause import pause, paused, resume
from eas.operations.reschedule import Rescheduled, reschedule
from eas.orchestration.orchestrator import Event, EventKind, Orchestrator
from eas.states import JobState
from eas.taskdb import jobs, tables
from eas.worker import heartbeat
from tests.integration.chains import NULL, loop
from tests.integration.flaky_task import with_flaky_task
from tests.integration.harness import TIMEOUT, System
from tests.processes import wait_for

ROOT = Path(__file__).resolve().parents[2]
LONG: dict[str, Any] = {"task": "null", "duration": 3600}


def moody(needs: str = "", out: str = "", read: str = "", **extra: Any) -> dict[str, Any]:
    task: dict[str, Any] = {"task": "moody"} | extra
    task |= {"needs": needs} if needs else {}
    task |= {"outputs": {"file": out}} if out else {}
    return task | ({"inputs": {"file": read}} if read else {})


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the task's process
    monkeypatch.setattr(heartbeat, "CANCELLATION_CHECK_INTERVAL", 0.3)
    made = System(tmp_path, lease=2.0)
    made.app.registry = with_flaky_task(made.app.registry)
    yield made
    made.app.close()


class Driving:
    """An orchestrator that a thread keeps advancing, as the flow does."""

    def __init__(self, system: System, job: int) -> None:
        self.orchestrator: Orchestrator = system.app.orchestrator(job)
        self.orchestrator.open()
        self.events: list[Event] = []
        self.error: Exception | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not (self.orchestrator.finished or self.stop.is_set()):
                self.events += self.orchestrator.step()
                time.sleep(0.02)
        except Exception as error:
            self.error = error
        finally:
            self.orchestrator.close()

    def __enter__(self) -> Driving:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()

    def join(self) -> None:
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error


def put(system: System, name: str) -> None:
    folder = system.app.settings.input_directory
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def leaves(system: System, job: int) -> dict[str, int]:
    return {state: count for state, count in system.summary(job).leaves.items() if count}


def again(system: System, **which: Any) -> Rescheduled:
    return reschedule(system.app.database, system.app.queue, **which)


def states_of(system: System, job: int) -> list[tuple[str, str]]:
    query = select(tables.tasks.c.task_type, tables.tasks.c.state).where(tables.tasks.c.job_id == job)
    return [tuple(row) for row in system.rows(query.order_by(tables.tasks.c.id))]


class TestReschedule:
    CHAIN = (moody("sun", out="a"), moody(read="a", out="b"), loop("i", [1, 2], moody(read="b")), NULL)

    def test_failed_tasks_and_those_they_blocked_run_again_and_nothing_else_does(self, system: System) -> None:
        job = system.run(list(self.CHAIN)).job_id
        assert leaves(system, job) == {"failed": 1, "blocked": 3, "done": 1}
        put(system, "sun")
        done = again(system)
        assert done.to_json() == {
            "total": 4,
            "tasks": {"blocked": 3, "failed": 1},
            "jobs": [{"job_id": job, "job_name": "test", "tasks": {"blocked": 3, "failed": 1}}],
        }
        assert system.summary(job).state == "submitted"
        assert again(system).total == 0
        with system.worker():
            system.drive(job)
        assert system.summary(job).succeeded
        numbers = system.rows(select(tables.attempts.c.task_id, tables.attempts.c.number))
        assert sorted(numbers) == [(2, 1), (2, 2), (3, 1), (5, 1), (8, 1), (9, 1)]

    def test_the_tries_are_what_they_were_at_submission(self, system: System) -> None:
        job = system.run([moody("sun")], retries=2, backoff=0.01, max_stalls=3).job_id
        database = system.app.database
        database.transact(lambda c: c.execute(update(tables.tasks).where(tables.tasks.c.id == 2).values(stalls_left=0)))
        again(system, job_id=job)
        (row,) = system.rows(select(tables.tasks).where(tables.tasks.c.id == 2))
        assert (row.state, row.retries_left, row.stalls_left, row.reason) == ("waiting", 2, 3, None)

    def test_a_stalled_task_is_put_back_and_what_runs_is_not(self, system: System) -> None:
        job = system.submit([NULL, NULL, NULL])
        system.drive(job, steps=1)
        for task, state in ((2, "stalled"), (3, "running")):
            change = update(tables.tasks).where(tables.tasks.c.id == task).values(state=state)
            system.app.database.transact(lambda c, change=change: c.execute(change))
            ended = update(tables.attempts).where(tables.attempts.c.task_id == task).values(state=state)
            system.app.database.transact(lambda c, ended=ended: c.execute(ended))
        assert again(system).states == {"stalled": 1}
        assert states_of(system, job)[1:] == [("null", "waiting"), ("null", "running"), ("null", "queued")]

    def test_a_living_orchestrator_takes_notice(self, system: System) -> None:
        job = system.submit([moody("sun", out="a"), moody(read="a"), loop("i", [1, 2, 3], LONG)])
        with system.worker(), Driving(system, job) as driving:
            wait_for(lambda: leaves(system, job).get("blocked"), "the failure")
            put(system, "sun")
            again(system)
            wait_for(lambda: leaves(system, job).get("blocked", 0) == 0, "the orchestrator")
            wait_for(
                lambda: [each.node.attempt_number for each in driving.events if each.node.task_id == 2][-1] == 2,
                "its event",
            )
            cancel(system.app.database, system.app.queue, job)
            driving.join()

    def test_a_chain_that_could_not_expand_is_tried_again(self, system: System) -> None:
        reader = {
            "task": "execution_for_loop",
            "requires_metadata_from": ["made"],
            "parameter": "i",
            "values": "([1 / (requested_metadata['made']['mood'] - 1)])",
            "task_list": [NULL],
        }
        job = system.run([moody(name="made"), reader]).job_id
        assert [state for kind, state in states_of(system, job) if kind == "execution_for_loop"] == ["failed"]
        reason = system.summary(job).failures[0].reason
        assert again(system).states == {"failed": 1}
        with system.worker():
            system.drive(job)
        assert [failure.reason for failure in system.summary(job).failures] == [reason]

    def test_blocked_tasks_of_other_jobs_wait_again(self, system: System) -> None:
        maker = system.submit([moody("sun", out="a")], name="maker")
        reader = system.submit([moody(read="a", out="b")], name="reader")
        third = system.submit([moody(read="b")], name="third")
        with system.worker():
            system.drive(maker, reader, third)
        assert [system.summary(job).state for job in (maker, reader, third)] == ["failed"] * 3
        put(system, "sun")
        done = again(system, job_name="maker")
        assert done.jobs == {maker: {"failed": 1}, reader: {"blocked": 1}, third: {"blocked": 1}}
        with system.worker():
            system.drive(third, reader, maker)
        assert [system.summary(job).state for job in (maker, reader, third)] == ["done"] * 3

    def test_only_jobs_of_the_name(self, system: System) -> None:
        one, two = (system.run([moody("sun")], name=name).job_id for name in ("one", "two"))
        assert list(again(system, job_name="two").jobs) == [two]
        assert list(again(system).jobs) == [one]
        with pytest.raises(UnknownJobError, match="no job is called 'three'"):
            again(system, job_name="three")
        with pytest.raises(UnknownJobError, match="no job 77"):
            again(system, job_id=77)

    def test_a_cancelled_job_stays_cancelled_unless_it_is_named(self, system: System) -> None:
        job = system.submit([NULL, loop("i", [1, 2], NULL)], name="mine")
        system.drive(job, steps=1)
        cancel(system.app.database, system.app.queue, job)
        assert again(system).total == 0
        assert again(system, job_name="mine").states == {"cancelled": 3}
        with system.worker():
            system.drive(job)
        assert system.summary(job).succeeded

    @pytest.mark.parametrize("chain", [[NULL], [loop("i", [1, 2], NULL)]])
    def test_a_job_cancelled_when_all_its_tasks_were_done_comes_to_its_end(
        self, system: System, chain: list[Any]
    ) -> None:
        job = system.submit(chain)
        system.drive(job, steps=2)
        attempts = select(tables.attempts.c.state)
        with system.worker():
            wait_for(lambda: {row.state for row in system.rows(attempts)} == {"done"}, "the tasks to be done")
        assert cancel(system.app.database, system.app.queue, job).tasks == 0
        done = again(system, job_id=job)
        assert set(done.states) == {"cancelled"}
        assert again(system, job_id=job).total == 0
        system.drive(job)
        assert system.summary(job).succeeded
        assert {row.state for row in system.rows(attempts)} == {"done"}

    def test_a_loop_goes_on_where_its_iteration_failed(self, system: System) -> None:
        chain = [
            {
                "task": "execution_do_while_loop",
                "iteration_name": "turn",
                "requires_metadata_from_child": ["made"],
                "repeat_criterion": "(requested_metadata['made']['mood'] < 3)",
                "task_list": [
                    moody("'{turn_index}.day'.format(**metadata)", out="'{turn_index}'.format(**metadata)", name="made")
                    | {"mood": "(metadata['turn_index'])"}
                ],
            }
        ]
        put(system, "0.day")
        put(system, "1.day")
        job = system.run(chain).job_id
        assert leaves(system, job)["failed"] == 1
        for day in (2, 3):
            put(system, f"{day}.day")
        again(system)
        with system.worker():
            system.drive(job)
        assert system.summary(job).succeeded
        done = system.rows(select(tables.attempts.c.task_id).where(tables.attempts.c.state == "done"))
        assert len(done) == len(set(done))


class TestEmptyQueue:
    def test_what_is_queued_waits_until_it_is_rescheduled(self, system: System) -> None:
        job = system.submit([loop("i", [1, 2, 3], NULL), moody(out="a"), moody(read="a")])
        system.drive(job, steps=1)
        assert empty_queue(system.app.database, system.app.queue) == {"moody": 1, "null": 3}
        assert empty_queue(system.app.database, system.app.queue) == {}
        assert leaves(system, job) == {"waiting": 5}
        with system.worker():
            system.drive(job, until=lambda each: each.paused_on_withdrawn_tasks)
            assert leaves(system, job) == {"waiting": 5}
            assert again(system).states == {"withdrawn": 4}
            system.drive(job)
        assert system.summary(job).succeeded
        states = [row.state for row in system.rows(select(tables.attempts.c.state).order_by(tables.attempts.c.id))]
        assert states == ["cancelled"] * 4 + ["done"] * 5

    def test_claimed_tasks_continue_and_an_orchestrator_pauses_and_continues(self, system: System) -> None:
        job = system.submit([loop("i", [1, 2, 3], {"task": "null", "duration": 0.5}), NULL])
        with system.worker(), Driving(system, job) as driving:
            wait_for(lambda: leaves(system, job).get("running"), "a task")
            taken = sum(empty_queue(system.app.database, system.app.queue).values())
            assert 1 <= taken <= 3
            wait_for(lambda: driving.orchestrator.paused_on_withdrawn_tasks, "the orchestrator to rest")
            assert leaves(system, job) == {"waiting": taken, "done": 4 - taken}
            withdrawn = [each for each in driving.events if each.what is EventKind.WITHDRAWN]
            assert len(withdrawn) == taken
            again(system)
            driving.join()
        assert system.summary(job).succeeded
        done = system.rows(select(tables.attempts.c.task_id).where(tables.attempts.c.state == "done"))
        assert len(done) == len(set(done)) == 4

    def test_only_jobs_of_the_name(self, system: System) -> None:
        jobs = [system.submit([NULL], name=name) for name in ("one", "two")]
        system.drive(*jobs, steps=1)
        assert empty_queue(system.app.database, system.app.queue, job_name="two") == {"null": 1}
        assert [leaves(system, job) for job in jobs] == [{"queued": 1}, {"waiting": 1}]

    def test_while_tasks_are_held_back_nothing_is_taken_for_a_deadlock(self, system: System) -> None:
        """What is held back may still make what others, of this job or another, wait for."""
        asks = NULL | {"requires_metadata_from": ["made"], "duration": "(0 * requested_metadata['made']['mood'])"}
        job = system.submit([moody(out="a", name="made"), asks])
        system.drive(job, steps=1)
        empty_queue(system.app.database, system.app.queue)
        events = system.drive(job, steps=3)
        assert not [each for each in events if each.what is EventKind.SETTLED]
        again(system)
        with system.worker():
            system.drive(job)
        assert system.summary(job).succeeded


class TestPause:
    def test_nothing_of_a_paused_queue_is_claimed_and_what_runs_goes_on(self, system: System) -> None:
        database, queue = system.app.database, system.app.queue
        job = system.submit([NULL, moody()])
        assert pause(database, ["null"]) == ["null"]
        assert pause(database, ["null"]) == []
        assert list(paused(database)) == ["null"]
        with system.worker(), Driving(system, job) as driving:
            wait_for(lambda: leaves(system, job) == {"queued": 1, "done": 1}, "the other type")
            time.sleep(0.3)
            assert dict(states_of(system, job))["null"] == "queued"
            assert resume(database, queue) == ["null"]
            driving.join()
        assert paused(database) == {}
        assert system.summary(job).succeeded

    def test_all_queues(self, system: System) -> None:
        everything = pause(system.app.database)
        assert "null" in everything
        assert "execution_chain" not in everything
        assert resume(system.app.database, system.app.queue) == everything

    def test_an_unknown_type_is_refused(self, system: System) -> None:
        with pytest.raises(UnknownTaskTypeError, match="no queue of the task type 'nul'"):
            pause(system.app.database, ["nul"])


class TestCancel:
    def children(self) -> set[int]:
        """Return the processes of attempts; a worker's guard lives as long as the worker."""
        found = set()
        for each in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                if "eas.worker.child" in each.cmdline():
                    found.add(each.pid)
        return found

    def test_with_a_living_orchestrator_and_a_running_child(self, system: System) -> None:
        made = moody(out="made")
        job = system.submit([made, moody(read="made"), *[LONG | {"inputs": {"file": "made"}}] * 4])
        before = self.children()
        with system.worker(), Driving(system, job) as driving:
            wait_for(
                lambda: leaves(system, job).get("done") == 2 and leaves(system, job).get("running"), "a running task"
            )
            child = self.children() - before
            assert child
            done = cancel(system.app.database, system.app.queue, job)
            assert (done.dropped, done.stopped, done.tasks) == (3, 1, 4)
            driving.join()
            assert driving.orchestrator.finished
            wait_for(lambda: not any(psutil.pid_exists(pid) for pid in child), "the child's end", 5.0)
        summary = system.summary(job)
        assert summary.state == "cancelled"
        assert leaves(system, job) == {"done": 2, "cancelled": 4}
        assert {failure.reason for failure in summary.failures} == {"cancelled by an operator"}
        assert Path(system.app.settings.store_location, "wd", "made").read_text() == "made"
        open_ones = system.rows(select(tables.attempts).where(tables.attempts.c.state.in_(["queued", "running"])))
        assert open_ones == []

    def test_without_any_orchestrator_and_twice(self, system: System) -> None:
        job = system.submit([NULL, loop("i", [1, 2], NULL)])
        assert cancel(system.app.database, system.app.queue, job).tasks == 0
        assert cancel(system.app.database, system.app.queue, job).to_json()["dropped"] == 0
        assert system.summary(job).state == "cancelled"
        system.drive(job)
        assert states_of(system, job) == [("execution_chain", "cancelled")]

    def test_a_job_that_is_over_is_not_cancelled(self, system: System) -> None:
        job = system.run([NULL]).job_id
        with pytest.raises(RequestError, match="has already ended: done"):
            cancel(system.app.database, system.app.queue, job)
        with pytest.raises(UnknownJobError):
            cancel(system.app.database, system.app.queue, 99)
        assert system.summary(job).succeeded

    def test_a_job_whose_last_task_has_ended_is_not_cancelled_either(self, system: System) -> None:
        """The orchestrator records the end of the tasks first, and that of the job in the next transaction."""
        job = system.run([NULL]).job_id
        database = system.app.database
        database.transact(lambda c: jobs.set_state(c, job, JobState.RUNNING, ended_at=None))
        with pytest.raises(RequestError, match="has already ended: done"):
            cancel(database, system.app.queue, job)
        system.drive(job)
        assert system.summary(job).state == "done"

    def test_an_orchestrator_that_has_decided_already_writes_nothing(self, system: System) -> None:
        """Cancelled between its look at SQL and its write."""
        job = system.submit([NULL])
        orchestrator = system.app.orchestrator(job)
        orchestrator.open()
        orchestrator._advance()
        cancel(system.app.database, system.app.queue, job)
        orchestrator._apply_ended_attempts = lambda: None  # type: ignore[method-assign]
        orchestrator.step()
        assert orchestrator.finished
        assert system.rows(select(tables.attempts)) == []
        assert system.summary(job).state == "cancelled"
        orchestrator.close()

    def test_cancelled_and_put_back_at_once_the_driver_goes_on_or_leaves(self, system: System) -> None:
        job = system.submit([NULL])
        orchestrator = system.app.orchestrator(job)
        orchestrator.open()
        cancel(system.app.database, system.app.queue, job)
        again(system, job_id=job)
        other = system.app.orchestrator(job)
        other.open()
        with pytest.raises(LostLeaseError):
            orchestrator.step()
        orchestrator.close()
        other.step()
        assert leaves(system, job) == {"queued": 1}
        other.close()


def test_an_orchestrator_that_resumes_finds_a_cycle(system: System) -> None:
    """Running control tasks are nothing in flight: a resumed job must not wait for them for ever."""
    first = moody(out="a", name="first")
    late = "(requested_metadata['first']['mood'] and '{}')"
    chain = [
        first,
        moody(read=late.format("x"), out=late.format("y")) | {"requires_metadata_from": ["first"]},
        moody(read=late.format("y"), out=late.format("x")) | {"requires_metadata_from": ["first"]},
    ]
    job = system.submit(chain)
    system.drive(job, steps=1)
    with system.worker():
        system.drive(job)
    assert leaves(system, job) == {"done": 1, "failed": 1, "blocked": 1}
    assert "dependency cycle" in system.summary(job).failures[0].reason
