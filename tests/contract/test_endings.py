"""How attempts end in SQL while an operator changes their job: one suite, inherited by sqlite and MariaDB."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select, text

from eas.operations.cancel import cancel
from eas.queues.sql import SQLQueue
from eas.states import AttemptState
from eas.taskdb import job_changes, jobs, results, tables
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.stalls import reap_workers
from tests.contract.chains import claim_these, new_worker, queue_tasks, result, states, task_states
from tests.contract.engines import EngineContract

TIMEOUT = 30.0
Ending = Callable[[Connection, int, float], object]


def fails(connection: Connection, attempt: int, now: float) -> object:
    return results.finish(connection, "w", [result(attempt, AttemptState.FAILED)], now)


def stalls(connection: Connection, attempt: int, now: float) -> object:
    return reap_workers(connection, ["w"], now)


class EndingsContract(EngineContract):
    @pytest.fixture
    def attempt(self, database: TaskDatabase) -> int:
        """Return a claimed attempt of job 1 whose task has tries left."""
        attempt = queue_tasks(database, ["null"], retries=3, backoff=0.0, stalls=3)[0].attempt_id
        claim_these(database, new_worker(database, "w"), [attempt])
        return attempt

    def until_held_up(self, held_up: threading.Thread, numbers: list[int], database: TaskDatabase) -> None:
        """Wait until the thread's transaction, on the last connection of ``numbers``, waits for a lock."""
        raise NotImplementedError

    @pytest.mark.parametrize("ends", [fails, stalls])
    def test_it_waits_for_a_cancellation_and_then_gets_no_further_try(
        self, database: TaskDatabase, attempt: int, ends: Ending
    ) -> None:
        """The decision on another try must see a cancellation that is being written."""
        numbers: list[int] = []

        def end(connection: Connection) -> None:
            if not database.is_sqlite:
                numbers.append(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())
            ends(connection, attempt, time.time())

        ending = threading.Thread(target=lambda: database.transact(end))
        with database.write() as operator:
            job = job_changes.lock(operator, 1)
            jobs.set_state(operator, job.id, job.state, cancel_requested_at=time.time())
            ending.start()
            self.until_held_up(ending, numbers, database)
        ending.join(TIMEOUT)
        assert not ending.is_alive()
        name = ends.__name__.replace("fails", "failed").replace("stalls", "stalled")
        assert (states(database), task_states(database)) == ({attempt: name}, [name])

    @pytest.mark.parametrize("ends", [stalls, None], ids=["stalled", "cancelled"])
    def test_one_that_was_claimed_ahead_of_our_clock_has_lasted_no_time(
        self, database: TaskDatabase, attempt: int, ends: Ending | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        early = time.time() - 100.0
        monkeypatch.setattr(database, "now", lambda: early)
        if ends is None:
            cancel(database, SQLQueue(AttemptClaims(database)), 1)
        else:
            database.transact(lambda c: ends(c, attempt, early))
        columns = tables.attempt_results.c
        with database.read() as connection:
            query = select(columns.started_at, columns.ended_at, columns.wall, columns.cpu, columns.qc_passed)
            (found,) = connection.execute(query).all()
        assert tuple(found) == (early, early, 0.0, 0.0, None)


class TestSQLite(EndingsContract):
    engine = "sqlite"

    def until_held_up(self, held_up: threading.Thread, numbers: list[int], database: TaskDatabase) -> None:
        """Sqlite does not tell who waits: it has one writer at a time, who is us."""
        held_up.join(0.3)
        assert held_up.is_alive()


class TestMariaDB(EndingsContract):
    engine = "mariadb"

    def until_held_up(self, held_up: threading.Thread, numbers: list[int], database: TaskDatabase) -> None:
        query = text("SELECT trx_state FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = :number")
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert held_up.is_alive(), "it did not wait"
            assert time.monotonic() < deadline, "it neither waits nor ends"
            if numbers:
                with database.read() as connection:
                    if connection.execute(query, {"number": numbers[-1]}).scalar() == "LOCK WAIT":
                        return
            time.sleep(0.25)  # what is read more often than each 0.1 s, InnoDB shows as it was
