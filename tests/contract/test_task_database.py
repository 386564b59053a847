"""What every engine of the task database must do: one suite, inherited by sqlite and MariaDB."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, func, select

from eas.errors import LostLeaseError
from eas.model import Check, LogEntry, Usage
from eas.states import AttemptState, TaskState
from eas.taskdb import (
    attempt_claims,
    attempts,
    job_lease,
    periodic_locks,
    products,
    results,
    stalls,
    tables,
    tasks,
    workers,
)
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase, reserve_ids
from eas.taskdb.queries import product_status
from tests.contract.chains import (
    claim_these,
    new_job,
    new_worker,
    next_ids,
    queue_tasks,
    result,
    states,
    task_states,
    version,
)
from tests.contract.engines import EngineContract

LONG_TEXT = "Ωδός 星 \U0001f6f0 " * 20_000
"""More than 64 KB, and characters of one to four bytes."""


class TaskDatabaseContract(EngineContract):
    # -- ids -----------------------------------------------------------------------------------

    def test_ids_are_given_once_whoever_asks(self, database: TaskDatabase) -> None:
        given: list[int] = []

        def reserve() -> None:
            for _ in range(10):
                first = database.transact(lambda c: reserve_ids(c, "things", 3))
                given.extend(range(first, first + 3))

        _together([reserve] * 4)
        assert len(given) == len(set(given)) == 120

    # -- claims --------------------------------------------------------------------------------

    def test_claims_are_exclusive_among_threads(self, database: TaskDatabase, store: AttemptClaims) -> None:
        queued = queue_tasks(database, ["null"] * 300)
        taken: list[int] = []

        def work(worker: str) -> Callable[[], None]:
            def claim() -> None:
                while mine := next_ids(store, worker, ["null", "error"], 7):
                    taken.extend(mine)

            return claim

        _together([work(new_worker(database, f"w{number}")) for number in range(4)])
        while rest := next_ids(store, "w0", ["null"], 100):  # a busy moment may end a worker's loop early
            taken.extend(rest)
        assert sorted(taken) == [each.attempt_id for each in queued]

    def test_priority_comes_first_then_age(self, database: TaskDatabase, store: AttemptClaims) -> None:
        queued = queue_tasks(database, ["null", "error", "null", "verify"], priorities=[5, -5, 0, 0])
        order = [queued[number].attempt_id for number in (1, 2, 3, 0)]
        assert store.next_task_type(["null", "error", "verify"]) == "error"
        assert next_ids(store, "w", ["null", "error", "verify"], 3) == order[:3]
        assert next_ids(store, "w", ["null", "error", "verify"], 3) == order[3:]

    def test_what_is_not_due_or_of_another_type_is_left(self, database: TaskDatabase, store: AttemptClaims) -> None:
        later = queue_tasks(database, ["null"], available_at=database.now() + 1000)[0]
        queue_tasks(database, ["error"])
        assert next_ids(store, "w", ["null"], 5) == []
        assert claim_these(store.database, "w", [later.attempt_id]) == []
        assert store.due() == {"error": 1}
        assert store.depths() == {"error": 1, "null": 1}
        database.transact(lambda c: c.execute(tables.attempts.update().values(available_at=database.now())))
        assert next_ids(store, "w", ["null"], 5) == [later.attempt_id]

    def test_a_paused_type_is_not_claimed(self, database: TaskDatabase, store: AttemptClaims) -> None:
        queued = queue_tasks(database, ["null", "error"])
        database.transact(lambda c: c.execute(tables.queue_settings.insert().values(task_type="null", paused_at=1.0)))
        assert claim_these(store.database, "w", [each.attempt_id for each in queued]) == [queued[1].attempt_id]
        assert next_ids(store, "w", ["null", "error"], 5) == []
        assert store.queued() == []
        assert store.due() == {}
        database.transact(lambda c: c.execute(tables.queue_settings.delete()))
        assert next_ids(store, "w", ["null"], 5) == [queued[0].attempt_id]

    def test_a_claim_takes_only_what_is_queued(self, database: TaskDatabase, store: AttemptClaims) -> None:
        queued = [each.attempt_id for each in queue_tasks(database, ["null"] * 3)]
        assert claim_these(store.database, "a", queued[:2]) == queued[:2]
        assert claim_these(store.database, "b", queued) == queued[2:]
        assert store.still_queued(queued) == set()
        assert task_states(database) == [TaskState.RUNNING] * 3

    # -- results -------------------------------------------------------------------------------

    def test_a_result_is_taken_once_and_from_the_holder_only(
        self, database: TaskDatabase, store: AttemptClaims
    ) -> None:
        attempt = queue_tasks(database, ["null"])[0].attempt_id
        claim_these(store.database, "a", [attempt])
        finish = lambda who: database.transact(  # noqa: E731
            lambda c: results.finish(c, who, [result(attempt)], database.now())
        )
        assert finish("b").accepted == frozenset()
        assert finish("a").accepted == {attempt}
        assert finish("a").accepted == frozenset()
        assert states(database) == {attempt: AttemptState.DONE}
        assert task_states(database) == [TaskState.DONE]
        assert self._count(database, tables.attempt_results) == 1

    def test_everything_of_a_result_survives(self, database: TaskDatabase, store: AttemptClaims) -> None:
        attempt = queue_tasks(database, ["null"], outputs={"lightcurve": "ŝtelo.gz"})[0].attempt_id
        claim_these(store.database, "a", [attempt])
        metadata = {
            "tiny": sys.float_info.min,
            "huge": sys.float_info.max,
            "third": 1 / 3,
            "text": "Ωδός",
            "none": None,
        }
        done = result(
            attempt,
            metadata=metadata,
            usage=Usage(wall=1e-300, cpu=5e-324, cpu_children=1.7976931348623157e308, peak_memory=math.pi),
            checks=(Check("fínite", True, "ok"),),
            versions=(version(attempt, "lightcurve", "ŝtelo.gz"),),
            log=(LogEntry(time.time(), logging.ERROR, "λογ", LONG_TEXT, LONG_TEXT),),
        )
        database.transact(lambda c: results.finish(c, "a", [done], database.now()))
        with database.read() as connection:
            row = connection.execute(select(tables.attempt_results)).one()
            entry = connection.execute(select(tables.log_entries)).one()
            current = product_status.status(connection, [("Müll Ωδός 星/λ", "ŝtelo.gz")])
        assert json.loads(row.output_metadata) == metadata
        assert (row.wall, row.cpu, row.cpu_children, row.peak_memory) == (
            1e-300, 5e-324, 1.7976931348623157e308, math.pi,
        )  # fmt: skip
        assert (row.started_at, row.ended_at) == (done.started, done.ended)
        assert entry.message == entry.traceback == LONG_TEXT
        assert [each.current_version_id is not None for each in current.values()] == [True]

    def test_names_differ_by_case_and_accent(self, database: TaskDatabase) -> None:
        names = [("d", "a"), ("d", "A"), ("d", "ä"), ("d", "a "), ("D", "a")]
        ids = database.transact(lambda c: products.ensure(c, names)).ids
        assert len(set(ids.values())) == 5
        assert database.transact(lambda c: products.ensure(c, names)).ids == ids

    def test_the_same_products_added_at_once_are_added_once(self, database: TaskDatabase) -> None:
        names = [("d", f"file-{number}") for number in range(50)]
        found: list[dict[products.Product, int]] = []
        _together([lambda: found.append(database.transact(lambda c: products.ensure(c, names)).ids)] * 4)
        assert all(each == found[0] for each in found)
        assert self._count(database, tables.products) == 50

    def test_a_failed_attempt_is_tried_again_later_and_later(
        self, database: TaskDatabase, store: AttemptClaims
    ) -> None:
        attempt = queue_tasks(database, ["null"], retries=2, backoff=100.0)[0].attempt_id
        delays = []
        for _ in range(2):
            with database.write() as connection:
                connection.execute(tables.attempts.update().values(available_at=0.0))
            claim_these(store.database, "a", [attempt])
            now = database.now()
            closed = database.transact(lambda c: results.finish(c, "a", [result(attempt, AttemptState.FAILED)], now))  # noqa: B023
            delays.append(closed.requeued[0].available_at - now)
            attempt = closed.requeued[0].attempt_id
        assert delays == pytest.approx([100.0, 200.0])
        with database.write() as connection:
            connection.execute(tables.attempts.update().values(available_at=0.0))
        claim_these(store.database, "a", [attempt])
        last = database.transact(lambda c: results.finish(c, "a", [result(attempt, AttemptState.FAILED)], now))
        assert last.requeued == ()
        assert task_states(database) == [TaskState.FAILED]

    def test_many_results_at_once(self, database: TaskDatabase, store: AttemptClaims) -> None:
        queued = [each.attempt_id for each in queue_tasks(database, ["null"] * 1200, retries=1)]
        assert claim_these(store.database, "a", queued) == queued
        ended = [result(each, AttemptState.DONE if each % 3 else AttemptState.FAILED) for each in queued]
        closed = database.transact(lambda c: results.finish(c, "a", ended, database.now()))
        assert len(closed.accepted) == 1200
        assert len(closed.requeued) == sum(each % 3 == 0 for each in queued)

    # -- handing back, leases ------------------------------------------------------------------

    def test_handed_back_attempts_are_queued_again(self, database: TaskDatabase, store: AttemptClaims) -> None:
        queued = [each.attempt_id for each in queue_tasks(database, ["null"] * 2)]
        claim_these(store.database, "a", queued)
        assert database.transact(lambda c: attempt_claims.return_to_queue(c, "b", queued)) == []
        back = database.transact(lambda c: attempt_claims.return_to_queue(c, "a", queued))
        assert [each.attempt_id for each in back] == queued
        assert task_states(database) == [TaskState.QUEUED] * 2
        assert next_ids(store, "b", ["null"], 5) == queued

    def test_a_silent_worker_loses_its_attempts(self, database: TaskDatabase, store: AttemptClaims) -> None:
        attempt = queue_tasks(database, ["null"])[0].attempt_id
        new_worker(database, "a")
        claim_these(store.database, "a", [attempt])
        since = database.now() - 1.0
        assert not database.fetch(lambda c: stalls.silent(c, since))
        assert database.transact(lambda c: stalls.reap(c, since, database.now())).attempt_ids == ()
        later = database.now() + 10
        assert database.fetch(lambda c: stalls.silent(c, later))
        stalled = database.transact(lambda c: stalls.reap(c, later, database.now()))
        assert stalled.attempt_ids == (attempt,)
        again = stalled.requeued[0].attempt_id
        assert states(database) == {attempt: AttemptState.STALLED, again: AttemptState.QUEUED}
        late = database.transact(lambda c: results.finish(c, "a", [result(attempt)], database.now()))
        assert late.accepted == frozenset(), "the result of a worker that woke up late counts no more"
        assert database.transact(lambda c: attempts.record_heartbeat(c, "a", database.now())) == set()
        assert self._worker_state(database) == "alive", "it is heard again"

    def test_stalls_come_to_an_end(self, database: TaskDatabase, store: AttemptClaims) -> None:
        attempt = queue_tasks(database, ["null"], stalls=1)[0].attempt_id
        later = database.now() + 10
        for left in (1, 0):
            assert next_ids(store, "a", ["null"], 1) == [attempt]
            stalled = database.transact(lambda c: stalls.reap(c, later, database.now()))
            assert len(stalled.requeued) == left
            attempt = stalled.requeued[0].attempt_id if left else attempt
        assert task_states(database) == [TaskState.STALLED]

    def test_a_worker_whose_process_is_gone(self, database: TaskDatabase, store: AttemptClaims) -> None:
        queued = [each.attempt_id for each in queue_tasks(database, ["null"] * 2)]
        new_worker(database, "a")
        claim_these(store.database, "a", queued)
        lost = database.transact(lambda c: stalls.reap_workers(c, ["a"], database.now()))
        assert sorted(lost.attempt_ids) == queued
        assert self._worker_state(database) == "lost"

    def test_a_job_has_one_driver(self, database: TaskDatabase) -> None:
        job = database.transact(new_job)
        now = database.now()
        take = lambda who, at: database.transact(lambda c: job_lease.take(c, job, who, 60.0, at))  # noqa: E731
        assert take("a", now)
        assert not take("b", now + 59)
        assert take("b", now + 61)
        with pytest.raises(LostLeaseError):
            database.transact(lambda c: job_lease.require_driver(c, job, "a"))
        database.transact(lambda c: job_lease.require_driver(c, job, "b"))

    def test_a_duty_falls_to_one(self, database: TaskDatabase) -> None:
        took: list[bool] = []
        _together([lambda: took.append(periodic_locks.acquire(database, "sweep", 5.0))] * 4)
        assert sum(took) == 1
        assert not periodic_locks.acquire(database, "sweep", 5.0)
        assert periodic_locks.acquire(database, "sweep", 0.0)
        periodic_locks.delete_old_tokens(database)

    # -- transactions --------------------------------------------------------------------------

    def test_what_fails_leaves_nothing(self, database: TaskDatabase) -> None:
        def fail(connection: Connection) -> None:
            new_job(connection)
            raise KeyError("x")

        with pytest.raises(KeyError):
            database.transact(fail)
        assert self._count(database, tables.jobs) == 0

    def test_a_read_is_of_one_moment(self, database: TaskDatabase) -> None:
        with database.read() as connection:
            before = connection.execute(select(func.count()).select_from(tables.jobs)).scalar()
            threading.Thread(target=lambda: database.transact(new_job)).start()
            deadline = time.monotonic() + 60
            while self._count(database, tables.jobs) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert connection.execute(select(func.count()).select_from(tables.jobs)).scalar() == before
        assert self._count(database, tables.jobs) == before + 1

    def test_settling_many_tasks_with_reasons_of_their_own(self, database: TaskDatabase) -> None:
        queue_tasks(database, ["null"] * 4)
        with database.read() as connection:
            ids = list(connection.execute(select(tables.tasks.c.id).order_by(tables.tasks.c.id)).scalars())
        reasons = {ids[0]: (TaskState.FAILED, "one"), ids[1]: (TaskState.FAILED, None), ids[2]: (TaskState.DONE, None)}
        database.transact(lambda c: tasks.settle(c, reasons, 1.0))
        database.transact(lambda c: tasks.accept(c, [(ids[3], 77)], 2.0))
        with database.read() as connection:
            columns = (tables.tasks.c.state, tables.tasks.c.reason, tables.tasks.c.accepted_attempt_id)
            rows = connection.execute(select(*columns).order_by(tables.tasks.c.id)).all()
        assert [tuple(row) for row in rows] == [
            ("failed", "one", None),
            ("failed", None, None),
            ("done", None, None),
            ("done", "kept from attempt 77", 77),
        ]

    def test_the_clock_is_near_ours(self, database: TaskDatabase) -> None:
        assert abs(database.now() - time.time()) < 60
        assert database.now() <= database.now()

    @staticmethod
    def _count(database: TaskDatabase, table: object) -> int:
        return int(database.fetch(lambda c: c.execute(select(func.count()).select_from(table)).scalar()) or 0)  # type: ignore[arg-type]

    @staticmethod
    def _worker_state(database: TaskDatabase) -> str:
        return str(database.fetch(lambda c: c.execute(select(workers.tables.workers.c.state)).scalar_one()))


class TestSQLite(TaskDatabaseContract):
    engine = "sqlite"


class TestMariaDB(TaskDatabaseContract):
    engine = "mariadb"


def _together(works: list[Callable[[], object]]) -> None:
    """Run all at the same time, and raise what one of them raises."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
