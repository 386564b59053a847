"""Fixtures for tests that need MariaDB or RabbitMQ: `make services` starts both.

Without them these tests are skipped; where ``CI`` is set, they fail.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlalchemy.engine import make_url

from eas import registry
from eas.taskdb import dialects, tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from infra.services import mariadb, rabbitmq, service_state


def _missing(name: str) -> None:
    message = f"{name} does not run: `make services` starts it (python -m infra.services start)"
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(message)
    pytest.skip(message)


def mariadb_server() -> str:
    """Return the URL of a MariaDB server, ending in ``/``; skip the test where there is none."""
    if given := os.environ.get("EAS_TEST_MARIADB_URL"):
        return given if given.endswith("/") else f"{given}/"
    state = service_state.read()
    if state is None or not mariadb.answers(state):
        _missing("MariaDB")
        raise AssertionError
    return state.mariadb_url


def rabbitmq_server() -> str:
    """Return the URL of a RabbitMQ broker; skip the test where there is none."""
    if given := os.environ.get("EAS_TEST_RABBITMQ_URL"):
        return given
    state = service_state.read()
    if state is None or not service_state.is_listening(state.amqp_port):
        _missing("RabbitMQ")
        raise AssertionError
    return state.rabbitmq_url


def drop_database(url: str) -> None:
    """Remove a MySQL database."""
    parsed = make_url(url)
    engine = dialects.mysql_engine(parsed.set(database="").render_as_string(hide_password=False), "READ COMMITTED")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS `{parsed.database}`")
    engine.dispose()


def clear(database: TaskDatabase) -> None:
    """Empty the task database, registry included; then fill in the registry."""
    with database.write() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET foreign_key_checks=0")
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))
        if not database.is_sqlite:
            connection.exec_driver_sql("SET foreign_key_checks=1")
    initialise(database, registry.load())


@pytest.fixture
def empty_mariadb() -> Iterator[str]:
    """URL of a MariaDB database without any table."""
    url = f"{mariadb_server()}eas_test_{uuid.uuid4().hex[:12]}"
    dialects.create_database(url)
    yield url
    drop_database(url)


@pytest.fixture(scope="session")
def shared_mariadb() -> Iterator[str]:
    """URL of a MariaDB task database that all tests of the session share; see ``database_url``."""
    url = f"{mariadb_server()}eas_test_{uuid.uuid4().hex[:12]}"
    dialects.create_database(url)
    yield url
    drop_database(url)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Return the URL of a clean task database on an engine, sqlite or mariadb."""

    def url(engine: str) -> str:
        found = f"sqlite:///{tmp_path}/eas.sqlite" if engine == "sqlite" else request.getfixturevalue("shared_mariadb")
        database = TaskDatabase(found)
        initialise(database, registry.load())
        if engine != "sqlite":
            clear(database)
        database.close()
        return str(found)

    return url


@pytest.fixture
def queue_prefix() -> Iterator[str]:
    """Prefix of queue names of a test's own; the queues are removed afterwards."""
    prefix = f"eas-test-{uuid.uuid4().hex[:8]}."
    yield prefix
    state = service_state.read()
    if state is not None and rabbitmq.running():
        remove_queues(rabbitmq_server(), prefix)


def remove_queues(url: str, prefix: str) -> None:
    """Remove the queues of all task types."""
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for name in registry.load().task_types:
        channel.queue_delete(f"{prefix}{name}")
    connection.close()
