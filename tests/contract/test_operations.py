"""What operators do while workers claim and finish: one suite, inherited by sqlite and MariaDB."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from eas.operations.cancel import cancel
from eas.operations.empty_queue import empty_queue
from eas.operations.pause import pause, paused, resume
from eas.operations.reschedule import reschedule
from eas.orchestration.scaling import Starting, read_loads
from eas.queues.sql import SQLQueue
from eas.registry import load
from eas.states import AttemptState, TaskState
from eas.taskdb import results, retry, tables
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from tests.contract.chains import claim_these, claimed_ids, new_worker, next_ids, queue_tasks, result
from tests.contract.engines import EngineContract


class OperationsContract(EngineContract):
    @pytest.fixture
    def queue(self, store: AttemptClaims) -> Iterator[SQLQueue]:
        made = SQLQueue(store)
        yield made
        made.close()

    def pairs(self, database: TaskDatabase) -> list[tuple[str, str, bool]]:
        """Return the states of each attempt and its task, and whether that is held back."""
        query = select(tables.attempts.c.state, tables.tasks.c.state.label("task"), tables.tasks.c.held_at)
        query = query.join(tables.tasks, tables.tasks.c.id == tables.attempts.c.task_id)
        with database.read() as connection:
            return [(row.state, row.task, row.held_at is not None) for row in connection.execute(query)]

    def test_a_claim_is_emptied_or_runs(self, database: TaskDatabase, queue: SQLQueue) -> None:
        queue_tasks(database, ["null"] * 300)
        names = [new_worker(database, f"w{number}") for number in range(2)]
        claimed: list[int] = []
        begun, over = threading.Event(), threading.Event()

        def claim(name: str) -> None:
            while mine := next_ids(queue.store, name, ["null"], 5):
                claimed.extend(mine)
                begun.set()
                if len(claimed) > 200:  # quick claimants leave some for the other side
                    over.wait(30.0)

        threads = [threading.Thread(target=claim, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        try:
            assert begun.wait(30.0)
            emptied = empty_queue(database, queue).get("null", 0)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        found = self.pairs(database)
        assert set(found) <= {("running", "running", False), ("cancelled", "waiting", True)}
        assert found.count(("cancelled", "waiting", True)) == emptied
        assert len(claimed) == len(set(claimed)) == 300 - emptied
        assert emptied > 0
        assert reschedule(database, queue).states == {"withdrawn": emptied}

    def test_after_a_cancellation_nothing_is_queued_and_no_result_taken(
        self, database: TaskDatabase, queue: SQLQueue
    ) -> None:
        """Failed attempts with tries left, while the job is cancelled: either before it or not at all."""
        ids = [each.attempt_id for each in queue_tasks(database, ["null"] * 60, retries=3, backoff=0.0)]
        worker = new_worker(database, "w")
        claim_these(queue.store.database, worker, ids)
        taken: list[int] = []
        begun = threading.Event()

        def fail(mine: list[int]) -> None:
            for attempt in mine:
                bad = result(attempt, AttemptState.FAILED)
                closed = database.transact(lambda c, bad=bad: results.finish(c, worker, [bad], database.now()))
                taken.extend(closed.accepted)
                begun.set()

        threads = [threading.Thread(target=fail, args=(part,)) for part in (ids[:30], ids[30:])]
        for thread in threads:
            thread.start()
        assert begun.wait(30.0)
        done = cancel(database, queue, 1)
        for thread in threads:
            thread.join()
        found = self.pairs(database)
        assert {state for state, *_ in found} <= {"failed", "cancelled"}
        assert {task for _, task, _ in found} == {"cancelled"}
        assert len(taken) == done.dropped == 60 - done.stopped
        assert done.tasks == 60

    def test_a_retry_that_is_being_queued_is_dropped_by_a_cancellation(
        self, database: TaskDatabase, queue: SQLQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It looks for queued attempts just before the worker, which holds the failed one, queues the next."""
        attempt = queue_tasks(database, ["null"], retries=3, backoff=0.0)[0].attempt_id
        queue_tasks(database, ["verify"] * 1000)  # of another job: the engine plans large tables differently
        claim_these(queue.store.database, new_worker(database, "w"), [attempt])
        cancelling = threading.Thread(target=lambda: cancel(database, queue, 1))
        original = retry.queue_retries

        def late(*arguments: Any) -> Any:
            if not cancelling.ident:
                cancelling.start()
                cancelling.join(0.5)
                assert cancelling.is_alive(), "the cancellation did not wait for the worker"
            return original(*arguments)

        monkeypatch.setattr(retry, "queue_retries", late)
        bad = result(attempt, AttemptState.FAILED)
        database.transact(lambda c: results.finish(c, "w", [bad], database.now()))
        cancelling.join()
        assert queue.depths() == {"verify": 1000}
        assert {task for _, task, _ in self.pairs(database)} == {"cancelled", "queued"}

    def test_putting_back_leaves_alone_what_lives(self, database: TaskDatabase, queue: SQLQueue) -> None:
        ids = [each.attempt_id for each in queue_tasks(database, ["null"] * 5, stalls=0)]
        worker = new_worker(database, "w")
        claim_these(queue.store.database, worker, ids[:4])
        now = time.time()
        ends = [result(ids[0]), result(ids[1], AttemptState.FAILED)]
        database.transact(lambda c: results.finish(c, worker, ends, now))
        assert reschedule(database, queue, job_id=1).states == {"failed": 1}
        with database.read() as connection:
            found = list(connection.execute(select(tables.tasks.c.state).order_by(tables.tasks.c.id)).scalars())
        assert found == [TaskState.DONE, TaskState.WAITING, TaskState.RUNNING, TaskState.RUNNING, TaskState.QUEUED]

    def test_pausing_at_once_from_several_places(self, database: TaskDatabase, queue: SQLQueue) -> None:
        done: list[Any] = []
        threads = [threading.Thread(target=lambda: done.extend(pause(database, ["null"]))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == ["null"]
        queue_tasks(database, ["null"])
        assert claimed_ids(queue, "w", ["null"], 1, 0.2) == []
        assert resume(database, queue) == ["null"]
        assert paused(database) == {}
        assert len(claimed_ids(queue, "w", ["null"], 1, 0.2)) == 1

    def test_a_survey_counts_what_waits_runs_and_serves(self, database: TaskDatabase, queue: SQLQueue) -> None:
        registry = load()
        ids = [each.attempt_id for each in queue_tasks(database, ["null"] * 6 + ["error"] * 2 + ["verify"])]
        queue_tasks(database, ["null"], available_at=database.now() + 1000)
        busy = new_worker(database, "busy")
        new_worker(database, "free")
        new_worker(database, "silent")
        silent = tables.workers.update().where(tables.workers.c.id == "silent")
        database.transact(lambda c: c.execute(silent.values(heartbeat_at=database.now() - 301)))
        claim_these(queue.store.database, busy, ids[:2])
        database.transact(lambda c: results.finish(c, busy, [result(ids[0])], database.now()))
        pause(database, ["error"])
        begun = {"eas-base": Starting(3, stuck=1)}
        loads = {load.worker_type: load for load in read_loads(database, registry, begun, lease=300.0)}
        base = loads["eas-base"]
        assert (base.queued, base.running, base.workers, base.idle, base.starting) == (5, 1, 2, 1, 3)
        assert base.stuck == 1
        assert (base.paused, base.held_back) == (("error",), 2)
        assert base.oldest is not None
        assert 0 <= base.oldest < 60
        assert base.mean_wall == 0.0
        assert base.rate > 0
        assert loads["eas-worker-tls"].queued == loads["eas-worker-tls"].workers == 0

    def test_each_job_has_its_own_pace_and_what_runs_for_long_counts(
        self, database: TaskDatabase, queue: SQLQueue
    ) -> None:
        registry = load()

        def base() -> Any:
            return next(each for each in read_loads(database, registry, lease=300.0) if each.worker_type == "eas-base")

        quick = [each.attempt_id for each in queue_tasks(database, ["null"] * 50)]
        worker = new_worker(database, "w")
        claim_these(queue.store.database, worker, quick)
        database.transact(lambda c: results.finish(c, worker, [result(each) for each in quick], database.now()))
        slow = [each.attempt_id for each in queue_tasks(database, ["null"] * 30)]
        assert (base().seconds, base().unmeasured) == (0.0, 30), "what other jobs' tasks of 0 s show is not believed"
        claim_these(queue.store.database, worker, slow[:1])
        begun = tables.attempts.update().where(tables.attempts.c.id == slow[0])
        database.transact(lambda c: c.execute(begun.values(claimed_at=database.now() - 100.0)))
        assert base().seconds == pytest.approx(29 * 200.0, rel=0.05), "as much again as it has run already"
        assert base().unmeasured == 0


class TestSQLite(OperationsContract):
    engine = "sqlite"


class TestMariaDB(OperationsContract):
    engine = "mariadb"
