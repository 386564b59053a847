"""What only MySQL and MariaDB do: deadlocks, restarts, lost answers, and indexes that must be used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, event, select, text, update
from sqlalchemy.exc import DBAPIError

from eas.errors import ServiceError
from eas.taskdb import attempt_claims, database_errors, dialects, tables
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import AnySelect, TaskDatabase
from tests.contract.chains import new_job, new_worker, next_ids, queue_tasks

JOBS = tables.jobs
EXPLAIN = "EXPLAIN FORMAT=TRADITIONAL"
"""MySQL 9 shows a tree unless it is asked for the table that MariaDB shows."""


@pytest.fixture
def database(database_url: Callable[[str], str]) -> Iterator[TaskDatabase]:
    database = TaskDatabase(database_url("mariadb"))
    yield database
    database.close()


def explain(database: TaskDatabase, query: AnySelect) -> list[dict[str, object]]:
    with database.read() as connection:
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        return [dict(row) for row in connection.exec_driver_sql(f"{EXPLAIN} {compiled}").mappings()]


def test_the_look_for_work_reads_the_index_alone(database: TaskDatabase) -> None:
    queue_tasks(database, ["null"] * 400)
    with database.write() as connection:
        connection.execute(text("ANALYZE TABLE attempts"))
    plan = explain(database, attempt_claims.claimable("null", 10, time.time()))
    assert [row["key"] for row in plan] == ["ix_attempts_queue"]
    assert "Using index" in str(plan[0]["Extra"])
    assert "filesort" not in str(plan[0]["Extra"])


def test_counting_the_queue_reads_the_index_alone(database: TaskDatabase) -> None:
    queue_tasks(database, ["null"] * 400)
    seen: list[str] = []
    event.listen(database._reader, "before_cursor_execute", lambda *args: seen.append(args[2] % args[3]))
    store = AttemptClaims(database)
    store.due()
    counting = next(each for each in seen if "count" in each).replace("= queued", "= 'queued'")
    with database.read() as connection:
        plan = connection.exec_driver_sql(f"{EXPLAIN} {counting}").mappings().all()
    assert plan[0]["key"] == "ix_attempts_queue"
    assert "Using index" in plan[0]["Extra"]


def test_locking_what_is_next_uses_the_queue_index(database: TaskDatabase) -> None:
    queue_tasks(database, ["null"] * 400)
    query = attempt_claims.claimable("null", 10, time.time()).with_for_update(skip_locked=True)
    plan = explain(database, query)
    assert plan[0]["key"] == "ix_attempts_queue"
    assert "filesort" not in str(plan[0]["Extra"])


def test_a_claim_does_not_wait_for_rows_that_others_claim(database: TaskDatabase) -> None:
    queued = [each.attempt_id for each in queue_tasks(database, ["null"] * 4)]
    new_worker(database, "b")
    with database.write() as connection:
        held = attempt_claims.lock_next_attempts(connection, ["null"], 2, database.now())
        assert [each.attempt_id for each in held] == queued[:2]
        began = time.monotonic()
        assert next_ids(AttemptClaims(database), "b", ["null"], 4) == queued[2:]
        assert time.monotonic() - began < 2.0


def test_a_claim_makes_a_fixed_number_of_trips(database: TaskDatabase) -> None:
    queue_tasks(database, ["null"] * 200)
    trips: list[str] = []
    for engine in (database.engine, database._reader):
        event.listen(engine, "before_cursor_execute", lambda *args: trips.append(args[2]))
    database.now()
    trips.clear()
    assert len(next_ids(AttemptClaims(database), "a", ["null", "error"], 128)) == 128
    assert len(trips) <= 7


def test_deadlocks_are_tried_again(database: TaskDatabase) -> None:
    first, second = (database.transact(new_job) for _ in range(2))
    tries: list[int] = []
    meet = threading.Barrier(2, timeout=60)

    def cross(one: int, other: int) -> None:
        runs = 0

        def work(connection: Connection) -> None:
            nonlocal runs
            runs += 1
            tries.append(1)
            connection.execute(update(JOBS).where(JOBS.c.id == one).values(retries=JOBS.c.retries + 1))
            if runs == 1:
                meet.wait()
            connection.execute(update(JOBS).where(JOBS.c.id == other).values(retries=JOBS.c.retries + 1))

        database.transact(work)

    threads = [threading.Thread(target=cross, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert list(connection.execute(select(JOBS.c.retries)).scalars()) == [2, 2]
    assert len(tries) >= 3


def test_connections_that_the_server_ended_are_replaced(database: TaskDatabase) -> None:
    other = TaskDatabase(database.url)
    for each in (other.engine, other._reader):
        with each.connect() as connection:
            number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
        with database.write() as killer:
            killer.exec_driver_sql(f"KILL {number}")
    other.ping()
    other.transact(new_job)
    other.close()


def test_locks_of_a_process_that_stopped_in_a_transaction_come_free(database: TaskDatabase) -> None:
    job = database.transact(new_job)
    stopped = dialects.mysql_engine(database.url, "READ COMMITTED", idle_timeout=1)
    with stopped.connect() as silent:
        silent.execute(update(JOBS).where(JOBS.c.id == job).values(retries=1))
        database.transact(lambda c: c.execute(update(JOBS).where(JOBS.c.id == job).values(retries=2)))
        with pytest.raises(DBAPIError) as lost:
            silent.execute(select(JOBS.c.id))
        assert database_errors.is_outage(lost.value)
    with database.read() as connection:
        assert connection.execute(select(JOBS.c.retries)).scalar() == 2
    stopped.dispose()


def test_a_connection_lost_in_a_transaction_is_tried_again(database: TaskDatabase) -> None:
    runs: list[int] = []

    def work(connection: Connection) -> int:
        job = new_job(connection)
        runs.append(job)
        if len(runs) == 1:
            number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            with database.engine.connect() as killer:
                killer.exec_driver_sql(f"KILL {number}")
        return job

    job = database.transact(work)
    with database.read() as connection:
        assert list(connection.execute(select(JOBS.c.id)).scalars()) == [job]
    assert len(runs) == 2


def test_a_commit_whose_answer_was_lost_is_not_repeated(database: TaskDatabase) -> None:
    lost: list[int] = []

    @event.listens_for(database.engine, "commit")
    def lose_the_answer(connection: Connection) -> None:
        if not lost:
            lost.append(1)
            dbapi = connection.connection.dbapi_connection
            dbapi.commit()
            dbapi._force_close()

    runs: list[int] = []

    def work(connection: Connection) -> int:
        runs.append(1)
        return new_job(connection)

    job = database.transact(work)
    with database.read() as connection:
        assert list(connection.execute(select(JOBS.c.id)).scalars()) == [job]
    assert (len(runs), len(lost)) == (1, 1)


def test_a_server_that_was_never_there_is_not_waited_for() -> None:
    absent = TaskDatabase("mysql+pymysql://eas:secret@127.0.0.1:1/eas")
    began = time.monotonic()
    with pytest.raises(ServiceError) as caught:
        absent.transact(lambda c: None)
    assert time.monotonic() - began < 5
    assert "secret" not in str(caught.value)
    with pytest.raises(ServiceError):
        absent.ping()
    absent.close()


def test_a_server_that_went_away_is_waited_for_so_long_only(database: TaskDatabase) -> None:
    gone = TaskDatabase(database.url, timeout=1.0)
    gone.ping()
    gone.close()
    gone.engine = gone._reader = TaskDatabase("mysql+pymysql://eas@127.0.0.1:1/eas").engine
    began = time.monotonic()
    with pytest.raises(ServiceError):
        gone.transact(lambda c: None)
    assert 0.5 < time.monotonic() - began < 5
