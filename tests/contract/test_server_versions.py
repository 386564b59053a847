"""What differs between versions of MySQL, MariaDB and RabbitMQ makes no difference to EAS.

With ``EAS_SERVICES_SUITE=sid`` (or trixie) all suites run on newer servers: ``make services SUITE=sid``.
"""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pika
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from eas import registry
from eas.queues.rabbitmq import RabbitMQQueue
from eas.taskdb import dialects
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from infra.services import rabbitmq, servers, service_state
from tests.contract.chains import claimed_ids, new_worker, queue_tasks
from tests.services import drop_database, mariadb_server, rabbitmq_server

COLLATIONS = (
    "latin1_swedish_ci",
    "utf8mb4_general_ci",
    "utf8mb4_0900_ai_ci",
    "utf8mb4_nopad_bin",
    "utf8mb4_uca1400_as_cs",
)
"""Of a server's default; MySQL and MariaDB have each some that the other has not. PAD SPACE: the first two."""
DIFFERENT = ("a", "A", "\u00e4", "a\u0308")
"""Names that are one or two by other rules than the bytes."""
HAND_BACKS = 30
"""More often than RabbitMQ 4 delivers a message of a quorum queue by default: 20 times."""


def server(*statements: str) -> list[tuple[object, ...]]:
    """Run statements on the server as the tests' user; return the rows of the last one."""
    engine = create_engine(mariadb_server())
    try:
        with engine.connect() as connection:
            for each in statements:
                result = connection.exec_driver_sql(each)
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


@contextlib.contextmanager
def database_with(collation: str) -> Iterator[TaskDatabase]:
    """Give a task database in a database whose tables have another collation unless they say otherwise."""
    if not server(f"SHOW COLLATION LIKE '{collation}'"):
        pytest.skip(f"the server has no collation {collation}")
    name = f"eas_test_{uuid.uuid4().hex[:12]}"
    server(f"CREATE DATABASE {name} COLLATE {collation}")
    database = TaskDatabase(f"{mariadb_server()}{name}")
    try:
        initialise(database, registry.load())
        yield database
    finally:
        database.close()
        drop_database(database.url)


@pytest.mark.parametrize("collation", COLLATIONS)
def test_the_collation_of_a_database_makes_no_difference(collation: str) -> None:
    with database_with(collation) as database:
        for name in DIFFERENT:
            new_worker(database, name)
        with database.read() as connection:
            found = connection.exec_driver_sql("SELECT id, id = 'a ' FROM workers").all()
            others = connection.exec_driver_sql(
                "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()"
                " AND collation_name <> 'utf8mb4_bin' AND table_name <> 'alembic_version'"
            ).all()
        # Comparison by bytes; blanks at the end are no part of a name, which is stripped before it comes here.
        assert dict(map(tuple, found)) == {name: int(name == "a") for name in DIFFERENT}
        assert others == []


def test_a_user_whose_password_the_server_has_not_cached_can_log_in() -> None:
    """MySQL's caching_sha2_password asks for TLS or RSA (the package cryptography) at the first login."""
    user, password = f"eas_{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    server(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{password}'")
    try:
        for parameters in ("", "?ssl_disabled=true"):
            server("FLUSH PRIVILEGES")
            url = make_url(f"{mariadb_server()}{parameters}").set(username=user, password=password)
            engine = dialects.mysql_engine(url.render_as_string(hide_password=False), "READ COMMITTED")
            with engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT CURRENT_USER()").scalar_one() == f"{user}@127.0.0.1"
            engine.dispose()
        if servers.database() == "MySQL":
            plugin = server(f"SELECT plugin FROM mysql.user WHERE user = '{user}'")
            assert plugin == [("caching_sha2_password",)]
    finally:
        server(f"DROP USER '{user}'@'127.0.0.1'")


@pytest.fixture
def queue(database_url: Callable[[str], str], queue_prefix: str) -> Iterator[RabbitMQQueue]:
    database = TaskDatabase(database_url("sqlite"))
    queue = RabbitMQQueue(rabbitmq_server(), AttemptClaims(database), prefix=queue_prefix)
    queue.publish(queue_tasks(database, ["null"]))
    yield queue
    queue.close()
    database.close()


def test_a_message_may_be_handed_back_for_ever(queue: RabbitMQQueue, queue_prefix: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_server()))
    channel = connection.channel()
    for number in range(HAND_BACKS):
        method, _, _ = next(channel.consume(f"{queue_prefix}null", inactivity_timeout=30))
        assert method is not None, f"the message is gone after {number} deliveries"
        channel.basic_nack(method.delivery_tag, requeue=True)
        channel.cancel()
    connection.close()
    assert claimed_ids(queue, "a", ["null"], 1, 5.0) != []


def test_no_feature_is_used_that_rabbitmq_is_to_lose(queue: RabbitMQQueue, queue_prefix: str) -> None:
    """Transient queues that several connections share, mirrored queues, a prefetch count for whole connections."""
    if (state := service_state.read()) is None:
        pytest.skip("rabbitmqctl reaches the broker of `make services` only")
    listed = rabbitmq.control(state, "list_queues", "--silent", "name", "durable")
    assert f"{queue_prefix}null\ttrue" in listed
    program = servers.require("rabbitmq-diagnostics", "rabbitmq-server")
    command = servers.command([program, "--silent", "check_if_any_deprecated_features_are_used"])
    done = subprocess.run(command, env=rabbitmq.environment(state), capture_output=True, text=True, check=False)
    if "' not found." in done.stderr:
        pytest.skip("this RabbitMQ lists no deprecated features (before 3.13)")
    assert done.returncode == 0, done.stdout + done.stderr
