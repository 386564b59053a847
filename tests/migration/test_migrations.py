"""Migrations make exactly the declared schema, on both engines, and can be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

from eas import registry
from eas.errors import RequestError, ServiceError
from eas.taskdb import migrate, tables
from eas.taskdb.engine import TaskDatabase


class MigrationContract:
    @pytest.fixture
    def database(self) -> Iterator[TaskDatabase]:
        raise NotImplementedError

    def test_migrations_make_the_declared_schema(self, database: TaskDatabase) -> None:
        assert migrate.initialise(database, registry.load()) == "created"
        with database.read() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, tables.metadata) == []

    def test_a_second_time_changes_nothing(self, database: TaskDatabase) -> None:
        migrate.initialise(database, registry.load())
        assert migrate.initialise(database, registry.load()) == "unchanged"
        migrate.require_schema(database)

    def test_two_at_once(self, database: TaskDatabase) -> None:
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda _: migrate.initialise(database, registry.load()), range(2)))
        assert sorted(done) == ["created", "unchanged"]

    def test_an_older_schema_is_migrated(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            migrate.upgrade(connection, "0001")
        with pytest.raises(ServiceError, match="0001"):
            migrate.require_schema(database)
        assert migrate.initialise(database, registry.load()) == "migrated"

    def test_jobs_of_an_older_schema_are_taken_along(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            migrate.upgrade(connection, "0002")
            row = {"id": 1, "name": "n", "working_directory": "w", "state": "running", "chain": "{}", "source": "s"}
            row |= {"seed": "0", "if_exists": "fail", "retries": 0, "backoff": 1, "priority": 0, "submitted_at": 1}
            names = ", ".join(row)
            connection.execute(text(f"INSERT INTO jobs ({names}) VALUES ({', '.join(f':{key}' for key in row)})"), row)
        migrate.initialise(database, registry.load())
        with database.read() as connection:
            assert connection.execute(select(tables.jobs.c.revision)).scalars().all() == [0]

    def test_there_and_back(self, database: TaskDatabase) -> None:
        migrate.initialise(database, registry.load())
        with database.write() as connection:
            migrate.downgrade(connection, "base")
        with database.read() as connection:
            assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
        assert migrate.initialise(database, registry.load()) == "created"

    def test_a_later_schema_is_refused(self, database: TaskDatabase) -> None:
        migrate.initialise(database, registry.load())
        with database.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(RequestError, match="9999"):
            migrate.initialise(database, registry.load())

    def test_remains_of_a_killed_start_are_cleared(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            tables.id_blocks.create(connection)
            tables.worker_types.create(connection)
        assert migrate.initialise(database, registry.load()) == "created"

    def test_tables_of_other_origin_are_left_alone(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            tables.id_blocks.create(connection)
            connection.execute(tables.id_blocks.insert().values(name="theirs", next_id=1))
        with pytest.raises(RequestError, match="id_blocks"):
            migrate.initialise(database, registry.load())


def test_the_newest_revision_is_known_without_alembic() -> None:
    assert migrate.head_revision() == ScriptDirectory.from_config(migrate._config()).get_current_head()


def test_a_schema_that_is_up_to_date_needs_no_alembic(tmp_path: Path) -> None:
    """It would cost every worker half a second."""
    program = "import sys; from eas.app import App; App.load().database; print('alembic' in sys.modules)"
    environment = os.environ | {"EAS_HOME": str(tmp_path), "EAS_DATABASE_URL": f"sqlite:///{tmp_path}/eas.sqlite"}
    command = [sys.executable, "-c", program]
    said = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    assert [each.stdout.strip() for each in said] == ["True", "False"]


class TestSQLite(MigrationContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[TaskDatabase]:
        database = TaskDatabase(f"sqlite:///{tmp_path}/eas.sqlite")
        yield database
        database.close()


class TestMariaDB(MigrationContract):
    @pytest.fixture
    def database(self, empty_mariadb: str) -> Iterator[TaskDatabase]:
        database = TaskDatabase(empty_mariadb)
        yield database
        database.close()
