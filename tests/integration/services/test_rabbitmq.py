"""What happens to the RabbitMQ queue when the broker, or its queues, disappear and return."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pika
import pytest
from sqlalchemy.engine import make_url

from eas.errors import ServiceError, SettingsError
from eas.queues import rabbitmq
from eas.queues.broker import BrokerDisconnectedError
from eas.queues.rabbitmq import RabbitMQQueue
from eas.queues.session import Session
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from tests import services
from tests.contract.chains import claim_these, claimed_ids, queue_tasks


class Wire:
    """A way to the broker that can be cut."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener: socket.socket | None = None
        self.open: list[socket.socket] = []
        probe = socket.create_server(("127.0.0.1", 0))
        self.port = int(probe.getsockname()[1])
        probe.close()
        self.join()

    def join(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        assert self.listener is not None
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self.open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.open.clear()


@pytest.fixture
def wire() -> Iterator[Wire]:
    port = make_url(services.rabbitmq_server()).port
    assert port is not None
    wire = Wire(port)
    yield wire
    wire.cut()


@pytest.fixture
def database(database_url: Callable[[str], str]) -> Iterator[TaskDatabase]:
    database = TaskDatabase(database_url("sqlite"))
    yield database
    database.close()


@pytest.fixture
def queue(
    wire: Wire, database: TaskDatabase, queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RabbitMQQueue]:
    monkeypatch.setattr(rabbitmq, "BROKER_TIMEOUT", 1.0)
    url = services.rabbitmq_server().replace(f":{wire.target}", f":{wire.port}")
    queue = RabbitMQQueue(url, AttemptClaims(database), prefix=queue_prefix)
    yield queue
    queue.close()


def test_work_goes_on_while_the_broker_is_away(wire: Wire, database: TaskDatabase, queue: RabbitMQQueue) -> None:
    queue.republish_lost()
    wire.cut()
    queued = queue_tasks(database, ["null"] * 2)
    began = time.monotonic()
    queue.publish(queued)  # bounded, and no error: SQL has them
    assert queue.republish_lost() == 0
    taken = claimed_ids(queue, "a", ["null"], 1, 5.0) + claimed_ids(queue, "a", ["null"], 1, 5.0)
    assert time.monotonic() - began < 15
    assert sorted(taken) == [each.attempt_id for each in queued]
    wire.join()
    again = queue_tasks(database, ["null"])
    deadline = time.monotonic() + 60
    while not queue.broker.connected and time.monotonic() < deadline:
        time.sleep(0.05)
    queue.publish(again)
    assert queue.message_counts(["null"]) == {"null": 1}
    assert claimed_ids(queue, "a", ["null"], 1, 5.0) == [again[0].attempt_id]


def test_a_claim_that_waits_survives_a_cut(wire: Wire, database: TaskDatabase, queue: RabbitMQQueue) -> None:
    claimed_ids(queue, "a", ["null"], 1, 0.0)
    threading.Timer(0.3, wire.cut).start()
    queued = []
    threading.Timer(0.6, lambda: queued.extend(queue_tasks(database, ["null"]))).start()
    taken: list[int] = []
    deadline = time.monotonic() + 60
    while not taken and time.monotonic() < deadline:
        taken = claimed_ids(queue, "a", ["null"], 1, 1.0)
    assert taken == [each.attempt_id for each in queued]


def test_a_deleted_queue_is_declared_again(database: TaskDatabase, queue: RabbitMQQueue, queue_prefix: str) -> None:
    queue.publish(queue_tasks(database, ["null"]))
    services.remove_queues(services.rabbitmq_server(), queue_prefix)
    queue.publish(queue_tasks(database, ["null"]))
    assert queue.message_counts(["null"]) == {"null": 1}


def test_a_purged_queue_is_filled_again(database: TaskDatabase, queue: RabbitMQQueue, queue_prefix: str) -> None:
    queued = queue_tasks(database, ["null"] * 30)
    queue.publish(queued)
    connection = pika.BlockingConnection(pika.URLParameters(services.rabbitmq_server()))
    connection.channel().queue_purge(f"{queue_prefix}null")
    connection.close()
    assert queue.republish_lost() == 30
    assert queue.republish_lost() == 0


def test_messages_that_sql_does_not_know_are_swept_away(database: TaskDatabase, queue: RabbitMQQueue) -> None:
    queued = queue_tasks(database, ["null"] * 3)
    queue.publish(queued)
    queue.publish(queued)
    claim_these(database, "b", [each.attempt_id for each in queued])
    assert queue.republish_lost() == 0
    deadline = time.monotonic() + 60
    while queue.message_counts(["null"]) != {"null": 0} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert queue.message_counts(["null"]) == {"null": 0}


def test_a_busy_worker_keeps_no_message_for_itself(database: TaskDatabase, queue: RabbitMQQueue) -> None:
    queue.publish(queue_tasks(database, ["null"] * 5))
    assert len(claimed_ids(queue, "a", ["null", "error"], 1, 5.0)) == 1
    # Its consumers end a moment after the claim, and hand back what they were given until then.
    deadline = time.monotonic() + 60
    while (queue._types or queue.message_counts(["null"])["null"] < 4) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert queue.message_counts(["null"]) == {"null": 4}


def test_a_connection_that_is_lost_for_a_moment_does_not_end_the_wait(
    database: TaskDatabase, queue: RabbitMQQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed_ids(queue, "a", ["null"], 1, 0.0)
    real, lost = queue.broker.session, []

    def session(timeout: float) -> Session:
        if not lost:
            lost.append(True)
            raise BrokerDisconnectedError("gone for a moment")
        return real(timeout)

    monkeypatch.setattr(queue.broker, "session", session)
    began = time.monotonic()
    assert claimed_ids(queue, "a", ["null"], 1, 1.0) == []
    assert time.monotonic() - began >= 0.9
    threading.Timer(0.3, lambda: queue.publish(queue_tasks(database, ["null"]))).start()
    lost.clear()
    assert len(claimed_ids(queue, "a", ["null"], 1, 30.0)) == 1


def test_a_broker_that_was_never_there_is_an_error_at_once(database: TaskDatabase) -> None:
    queue = RabbitMQQueue("amqp://eas:secret@127.0.0.1:1/%2F", AttemptClaims(database))
    began = time.monotonic()
    with pytest.raises(ServiceError) as caught:
        claimed_ids(queue, "a", ["null"], 1, 30.0)
    assert time.monotonic() - began < 8
    assert "secret" not in str(caught.value)
    queue.close()


def test_a_wrong_password_is_reported_and_not_shown(database: TaskDatabase) -> None:
    url = services.rabbitmq_server()
    queue = RabbitMQQueue(url.replace(str(make_url(url).password), "wr0ng"), AttemptClaims(database))
    with pytest.raises(ServiceError, match="ACCESS_REFUSED") as caught:
        queue.declare(["null"])
    assert "wr0ng" not in str(caught.value)
    queue.close()


def test_a_url_that_makes_no_sense(database: TaskDatabase) -> None:
    with pytest.raises(SettingsError):
        RabbitMQQueue("amqp://user:secret@host:port/", AttemptClaims(database))
