"""What every job queue must do on every task database: one suite, inherited by each combination."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eas.model import QueuedAttempt
from eas.queues.base import JobQueue
from eas.queues.rabbitmq import RabbitMQQueue
from eas.queues.sql import SQLQueue
from eas.taskdb import attempt_claims, tables
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from tests import services
from tests.contract.chains import claimed_ids, new_worker, queue_tasks
from tests.contract.memory_queue import MemoryQueue

TYPES = ["null", "error", "verify"]
SLACK = 8.0
"""How much longer than it should something may take on a busy machine [s]."""


def make_queue(kind: str, database: TaskDatabase, prefix: str) -> JobQueue:
    store = AttemptClaims(database)
    if kind == "rabbitmq":
        return RabbitMQQueue(services.rabbitmq_server(), store, prefix=prefix)
    return MemoryQueue(store) if kind == "memory" else SQLQueue(store)


class QueueContract:
    kind = ""
    engine = ""

    @pytest.fixture
    def database(self, database_url: Callable[[str], str]) -> Iterator[TaskDatabase]:
        if self.kind == "rabbitmq":
            services.rabbitmq_server()
        database = TaskDatabase(database_url(self.engine))
        yield database
        database.close()

    @pytest.fixture
    def queue(self, database: TaskDatabase, queue_prefix: str) -> Iterator[JobQueue]:
        queue = make_queue(self.kind, database, queue_prefix)
        yield queue
        queue.close()

    def put(self, database: TaskDatabase, queue: JobQueue, *args: object, **options: object) -> list[int]:
        queued = queue_tasks(database, *args, **options)  # type: ignore[arg-type]
        queue.publish(queued)
        return [each.attempt_id for each in queued]

    def drain(self, queue: JobQueue, worker: str, count: int, limit: int = 1) -> list[int]:
        """Claim until there are ``count``, or nothing comes any more."""
        taken: list[int] = []
        empty = 0
        while len(taken) < count and empty < 3:
            mine = claimed_ids(queue, worker, TYPES, limit, 0.5)
            empty = 0 if mine else empty + 1
            taken += mine
        return taken

    # -- the suite -----------------------------------------------------------------------------

    def test_what_is_queued_is_claimed_once(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null", "error", "null"])
        assert sorted(self.drain(queue, "w", 3)) == ids
        assert claimed_ids(queue, "w", TYPES, 5, 0.2) == []
        assert queue.depths() == {}

    def test_nothing_to_do_waits_as_long_as_asked(self, queue: JobQueue) -> None:
        claimed_ids(queue, "w", TYPES, 1, 0.0)
        began = time.monotonic()
        assert claimed_ids(queue, "w", TYPES, 1, 0.4) == []
        assert 0.3 <= time.monotonic() - began <= 0.4 + SLACK

    def test_a_waiting_claim_gets_what_comes(self, database: TaskDatabase, queue: JobQueue) -> None:
        threading.Timer(0.3, lambda: self.put(database, queue, ["null"])).start()
        began = time.monotonic()
        assert len(claimed_ids(queue, "w", TYPES, 1, 10.0)) == 1
        assert time.monotonic() - began < 0.3 + SLACK

    def test_wake_ends_a_wait(self, queue: JobQueue) -> None:
        claimed_ids(queue, "w", TYPES, 1, 0.0)
        threading.Timer(0.2, queue.wake).start()
        began = time.monotonic()
        assert claimed_ids(queue, "w", TYPES, 1, 0.5) == []
        assert time.monotonic() - began < 0.5 + SLACK

    def test_priority_then_age_within_a_type(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null"] * 4, priorities=[0, 5, -5, 0])
        order = [ids[number] for number in (2, 0, 3, 1)]
        assert self.drain(queue, "w", 4) == order

    def test_a_batch_comes_in_order(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null"] * 40)
        taken = self.drain(queue, "w", 40, limit=16)
        assert taken == ids

    def test_other_types_are_left_alone(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null", "error"])
        assert claimed_ids(queue, "w", ["error"], 5, 1.0) == [ids[1]]
        assert claimed_ids(queue, "w", ["error"], 5, 0.2) == []
        assert claimed_ids(queue, "w", ["null"], 5, 2.0) == [ids[0]]

    def test_what_is_not_due_waits(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null"], available_at=database.now() + 2.0)
        assert claimed_ids(queue, "w", TYPES, 1, 0.2) == []
        assert claimed_ids(queue, "w", TYPES, 1, 10.0) == ids
        assert claimed_ids(queue, "w", TYPES, 1, 0.0) == []

    def test_publishing_twice_is_harmless(self, database: TaskDatabase, queue: JobQueue) -> None:
        queued = queue_tasks(database, ["null"] * 3)
        queue.publish(queued)
        queue.publish(queued)
        queue.publish([])
        assert sorted(self.drain(queue, "w", 6)) == [each.attempt_id for each in queued]

    def test_messages_without_an_attempt_are_dropped(self, database: TaskDatabase, queue: JobQueue) -> None:
        queue.publish([QueuedAttempt(10**9, "null", 0, 0.0)])
        ids = self.put(database, queue, ["null"])
        assert self.drain(queue, "w", 1) == ids
        assert claimed_ids(queue, "w", TYPES, 1, 0.2) == []

    def test_handed_back_is_claimed_again(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null"])
        assert self.drain(queue, "a", 1) == ids
        queue.publish(database.transact(lambda c: attempt_claims.return_to_queue(c, "a", ids)))
        assert self.drain(queue, "b", 1) == ids

    def test_a_sweep_finds_what_was_never_published(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = [each.attempt_id for each in queue_tasks(database, ["null", "error"])]
        queue.republish_lost()
        assert sorted(self.drain(queue, "w", 2)) == ids
        assert queue.republish_lost() == 0

    def test_a_purge_drops_what_was_taken_off_and_nothing_else(self, database: TaskDatabase, queue: JobQueue) -> None:
        gone = self.put(database, queue, ["null", "error", "null"])
        left = self.put(database, queue, ["null", "verify"])
        off = tables.attempts.update().where(tables.attempts.c.id.in_(gone)).values(state="cancelled")
        database.transact(lambda c: c.execute(off))
        queue.purge(["error", "null"])
        if isinstance(queue, RabbitMQQueue):
            assert queue.message_counts(TYPES) == {"error": 0, "null": 1, "verify": 1}
        assert sorted(self.drain(queue, "w", 2)) == left
        assert claimed_ids(queue, "w", TYPES, 5, 0.2) == []

    def test_a_pause_holds_work_back(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null"])
        database.transact(lambda c: c.execute(tables.queue_settings.insert().values(task_type="null", paused_at=1.0)))
        assert claimed_ids(queue, "w", TYPES, 1, 0.3) == []
        database.transact(lambda c: c.execute(tables.queue_settings.delete()))
        queue.republish_lost()
        assert self.drain(queue, "w", 1) == ids

    def test_threads_share_the_work(self, database: TaskDatabase, queue: JobQueue) -> None:
        ids = self.put(database, queue, ["null", "error"] * 60)
        taken: list[int] = []
        workers = [new_worker(database, f"w{number}") for number in range(4)]
        threads = [
            threading.Thread(target=lambda w=worker: taken.extend(self.drain(queue, w, 120, limit=3)))
            for worker in workers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == ids

    def test_two_objects_share_the_work(self, database: TaskDatabase, queue: JobQueue, queue_prefix: str) -> None:
        if self.kind == "memory":
            pytest.skip("it serves one process only")
        ids = self.put(database, queue, ["null"] * 20)
        other = make_queue(self.kind, database, queue_prefix)
        taken = claimed_ids(queue, "a", TYPES, 1, 2.0) + claimed_ids(other, "b", TYPES, 1, 2.0)
        # Nothing may stay with one that is busy with its task.
        taken += self.drain(other, "b", 18)
        assert sorted(taken) == ids
        other.close()

    def test_processes_share_the_work(self, database: TaskDatabase, queue: JobQueue, queue_prefix: str) -> None:
        if self.kind == "memory":
            pytest.skip("it serves one process only")
        ids = self.put(database, queue, ["null"] * 200)
        url = services.rabbitmq_server() if self.kind == "rabbitmq" else "sql:"
        command = [sys.executable, "-m", "tests.contract.claimer", database.url, url, queue_prefix]
        processes = [
            subprocess.Popen([*command, f"p{number}"], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
            for number in range(3)
        ]
        taken: list[int] = []
        for process in processes:
            taken += [int(word) for word in process.communicate(timeout=60)[0].split()]
            assert process.returncode == 0
        assert sorted(taken) == ids


class TestMemoryOnSQLite(QueueContract):
    kind, engine = "memory", "sqlite"


class TestSQLOnSQLite(QueueContract):
    kind, engine = "sql", "sqlite"


class TestSQLOnMariaDB(QueueContract):
    kind, engine = "sql", "mariadb"


class TestRabbitMQOnSQLite(QueueContract):
    kind, engine = "rabbitmq", "sqlite"


class TestRabbitMQOnMariaDB(QueueContract):
    kind, engine = "rabbitmq", "mariadb"
