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
from sqlalchemy import Connection, Float, MetaData, String, Table, insert, inspect, select, text

from eas import registry
from eas.errors import RequestError, ServiceError
from eas.taskdb import migrate, tables
from eas.taskdb.engine import TaskDatabase
from tests.integration.harness import System

RENAMED = {"duties": "periodic_locks"}
FLAGS = {"control", "pending", "passed_qc", "qc_passed"}


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

    def test_a_filled_database_of_the_schema_before_is_taken_along(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            migrate.upgrade(connection, "0003")
            _fill_schema_0003(connection)
        assert migrate.initialise(database, registry.load()) == "migrated"
        product, link = tables.products, tables.task_products
        with database.read() as connection:
            stalls = connection.execute(select(tables.jobs.c.max_stalls).order_by(tables.jobs.c.id)).scalars().all()
            makers = {row[0]: row[1] for row in connection.execute(select(product.c.id, product.c.maker_task_id))}
            dynamic = connection.execute(select(link.c.task_id, link.c.semantic).where(link.c.dynamic)).all()
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, tables.metadata) == []
        assert stalls == [2, 7]
        assert makers == {1: 2, 2: None, 3: None}, "the task that is not over makes it"
        assert [tuple(row) for row in dynamic] == [(3, "file_3")]
        with database.write() as connection:
            migrate.downgrade(connection, "0003")
            assert connection.execute(text("SELECT COUNT(*) FROM tasks")).scalar() == 4

    def test_every_row_of_every_table_is_taken_along(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            migrate.upgrade(connection, "0003")
            before = MetaData()
            before.reflect(connection)
            filled = [table for table in before.sorted_tables if table.name != "alembic_version"]
            for table in filled:
                connection.execute(insert(table), [_row(table, number) for number in (1, 2, 3)])
            rows = {table.name: _rows(connection, table) for table in filled}
        assert len(filled) == 17 and all(len(each) == 3 for each in rows.values())
        for name in ("task_types", "worker_types"):  # written from the registry each time
            del rows[name]
        assert migrate.initialise(database, registry.load()) == "migrated"
        with database.read() as connection:
            after = MetaData()
            after.reflect(connection)
            for name, expected in rows.items():
                found = _rows(connection, after.tables[RENAMED.get(name, name)])
                for key, row in expected.items():
                    assert {column: found[key][column] for column in row} == row, name

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


def _row(table: Table, number: int) -> dict[str, object]:
    """Return a row in which every column of ``table`` has a value of its type."""
    row: dict[str, object] = {}
    for column in table.columns:
        kind = column.type
        if isinstance(kind, String):
            row[column.name] = f"{column.name[:8]}{number}"[: kind.length]
        elif column.foreign_keys and table.name == "tasks" and column.name == "parent_id":
            row[column.name] = number - 1 or None
        elif isinstance(kind, Float):
            row[column.name] = number + 0.5
        else:
            row[column.name] = number % 2 if column.name in FLAGS else number
    for column in table.columns:
        for key in column.foreign_keys:
            if isinstance(key.column.type, String):
                row[column.name] = f"{key.column.name[:8]}{number}"
    return row


def _rows(connection: Connection, table: Table) -> dict[tuple[object, ...], dict[str, object]]:
    """Return the rows of ``table`` by primary key."""
    keys = [column.name for column in table.primary_key]
    found = [dict(row._mapping) for row in connection.execute(select(table))]
    return {tuple(row[key] for key in keys): row for row in found}


def _fill_schema_0003(connection: Connection) -> None:
    """Write two jobs as release 0003 did: one that runs and one that is over."""

    def add(table: str, **row: object) -> None:
        names = ", ".join(f"`{name}`" for name in row)  # sqlite reads MySQL's quotes, too
        values = ", ".join(f":{name}" for name in row)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)

    job = {"name": "n", "working_directory": "w", "chain": "{}", "source": "s", "seed": "0", "if_exists": "fail"}
    job |= {"retries": 0, "backoff": 1, "priority": 0, "submitted_at": 1}
    add("jobs", id=1, state="running", **job)
    add("jobs", id=2, state="done", **job)
    task = {"ordinal": 0, "address": "", "path": "", "job_name": "n", "working_directory": "w", "metadata": "{}"}
    task |= {"settings": "{}", "requires": "[]", "pending": False, "retries_left": 0, "created_at": 1}
    add("tasks", id=1, job_id=1, parent_id=None, task_type="execution_chain", state="running", stalls_left=2, **task)
    add("tasks", id=2, job_id=1, parent_id=1, task_type="multiply", state="queued", stalls_left=1, **task)
    add("tasks", id=3, job_id=2, parent_id=None, task_type="ingest_external_lcs", state="done", stalls_left=7, **task)
    add("tasks", id=4, job_id=2, parent_id=3, task_type="multiply", state="failed", stalls_left=0, **task)
    for number, name in enumerate(("a.gz", "b.gz", "c.gz"), 1):
        add("products", id=number, working_directory="w", name=name, key=f"{number}", current_version_id=None)
    for task_id, semantic, product_id in (
        (2, "lightcurve", 1),
        (4, "lightcurve", 1),
        (4, "debugging", 2),
        (3, "file_3", 3),
    ):
        add("task_products", task_id=task_id, direction="out", semantic=semantic, product_id=product_id)


def test_a_job_goes_on_after_its_database_was_migrated(tmp_path: Path) -> None:
    system = System(tmp_path)
    synthesis = {"task": "synthesis_batman", "outputs": {"lightcurve": "a.gz"}, "specs": {"duration": 1}}
    job = system.submit(
        [synthesis, {"task": "verify", "inputs": {"lightcurve": "a.gz"}}, {"task": "null", "duration": 0}]
    )
    system.drive(job, steps=2)
    with system.app.database.write() as connection:
        migrate.downgrade(connection, "0003")
    assert migrate.initialise(system.app.database, system.app.registry) == "migrated"
    with system.worker():
        system.drive(job)
    assert system.summary(job).succeeded


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
