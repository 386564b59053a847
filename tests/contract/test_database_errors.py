"""Errors that no retry mends are reported at once, in one line without SQL parameters: on sqlite and MariaDB."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from eas import registry
from eas.errors import EASError, RequestError, ServiceError
from eas.taskdb import jobs, tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import ensure_schema, initialise
from tests.contract.chains import new_job
from tests.contract.engines import EngineContract

PRIVATE = "a user's private text"


def at_once(work: Callable[[], Any], kind: type[EASError]) -> EASError:
    """Return the error that ``work`` raises within 20 s; it is short and holds no parameter."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        work()
    assert time.monotonic() - began < 20
    said = str(caught.value)
    assert PRIVATE not in said
    assert len(said) < 600
    assert caught.value.hint
    return caught.value


def named(name: str, **values: Any) -> Callable[[Connection], int]:
    defaults = {"working_directory": "w", "chain": "{}", "source": "", "seed": "0", "if_exists": "fail", "retries": 0}
    defaults |= {"backoff": 1.0, "max_stalls": 0, "priority": 0}
    return lambda connection: jobs.add(connection, now=1.0, name=name, **defaults | values)


class DatabaseErrorsContract(EngineContract):
    def test_a_row_that_contradicts_another(self, database: TaskDatabase) -> None:
        def twice(connection: Connection) -> None:
            for _ in range(2):
                connection.execute(tables.hosts.insert().values(name=PRIVATE))

        error = at_once(lambda: database.transact(twice), EASError)
        assert "refuses a row of" in error.what
        assert "name" in error.what
        assert error.exit_code == 1

    def test_a_table_that_is_not_there(self, database: TaskDatabase) -> None:
        at_once(lambda: database.fetch(lambda c: c.execute(text("SELECT nothing FROM nowhere"))), ServiceError)

    def test_statements_hide_their_parameters(self, database: TaskDatabase) -> None:
        assert database.engine.hide_parameters
        assert database._reader.hide_parameters


class TestSQLite(DatabaseErrorsContract):
    engine = "sqlite"


class TestMariaDB(DatabaseErrorsContract):
    engine = "mariadb"

    def test_a_value_that_does_not_fit(self, database: TaskDatabase) -> None:
        error = at_once(lambda: database.transact(named(PRIVATE * 20)), RequestError)
        assert "refuses a value of name" in error.what

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_statement_that_is_too_large(self, database: TaskDatabase, times: int) -> None:
        database.transact(new_job)
        # 16 MiB on MariaDB, 64 MiB on MySQL.
        most = database.fetch(lambda c: c.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
        # A little too much is refused once it is read; for more the server closes the connection earlier.
        chain = PRIVATE * (times * most // len(PRIVATE) + 1)
        error = at_once(lambda: database.transact(named("n", chain=chain)), RequestError)
        assert "max_allowed_packet" in str(error)
        assert len(database.fetch(lambda c: c.execute(select(tables.jobs.c.id)).all())) == 1


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/eas.sqlite"


def filled(url: str) -> Path:
    """Make a real task database and return its file, without a journal beside it."""
    database = TaskDatabase(url)
    initialise(database, registry.load())
    for _ in range(50):
        database.transact(new_job)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return Path(url.removeprefix("sqlite:///"))


@pytest.mark.parametrize("content", [b"this is no database at all\n" * 100, None], ids=["foreign", "truncated"])
def test_a_damaged_file(sqlite: str, content: bytes | None) -> None:
    path = filled(sqlite)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    database = TaskDatabase(sqlite)
    error = at_once(lambda: ensure_schema(database, registry.load()), ServiceError)
    assert "damaged" in error.what
    assert "eas db restore" in error.hint
    assert error.exit_code == 3
    at_once(lambda: database.transact(new_job), ServiceError)
    database.close()


@pytest.mark.parametrize(("table", "whose"), [("eas_task", "the EAS prototype"), ("invoices", "another program")])
def test_a_database_of_another_program_is_left_alone(sqlite: str, table: str, whose: str) -> None:
    database = TaskDatabase(sqlite)
    with database.write() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {table} (id INTEGER)")
    error = at_once(lambda: ensure_schema(database, registry.load()), RequestError)
    assert f"holds tables of {whose} ({table})" in error.what
    with database.read() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    assert names == [table]
    database.close()
