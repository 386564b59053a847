"""What pages and commands read does not grow with the database: one suite, inherited by sqlite and MariaDB.

Each function runs on a database and on one eight times as large. EXPLAIN of every statement shows that
large tables are read by index, and the engines' own counters that the larger database costs no more.
sqlite plans without statistics, so its plan does not depend on the size; MariaDB's tables are analysed.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

from benchmarks.detailed_database import DetailedGenerator
from eas.registry import load
from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from eas.taskdb.queries import (
    attempt_list,
    file_list,
    job_list,
    lineage,
    logs,
    outcomes,
    sorted_tasks,
    task_details,
    task_list,
    waiting,
)  # fmt: skip
from eas.taskdb.queries.task_list import TaskFilter
from tests.services import drop_database, mariadb_server

SMALL, FACTOR = 1500, 8
LARGE_TABLES = ("tasks", "attempts", "attempt_results", "attempt_inputs", "task_products", "products",
                "product_versions", "log_entries")  # fmt: skip
VERIFY, SEARCH = "verify", "transit_search_bls_reference"


def _task(connection: Connection, kind: str = SEARCH) -> Any:
    table = tables.tasks
    query = select(table.c.id).where(table.c.job_id == 1, table.c.task_type == kind, table.c.state == TaskState.DONE)
    return task_details.get(connection, connection.execute(query.limit(1)).scalar_one())


def _waiting(connection: Connection) -> Any:
    table = tables.tasks
    query = select(table.c.id).where(table.c.job_id == 2, table.c.task_type == VERIFY, table.c.state == "waiting")
    return task_details.get(connection, connection.execute(query.limit(1)).scalar_one())


def _product(connection: Connection) -> int:
    return int(connection.execute(select(func.min(tables.products.c.id))).scalar_one())


READS: dict[str, Callable[[Connection], object]] = {
    "jobs": job_list.page,
    "job by id": lambda c: job_list.find(c, "1"),
    "job by name": lambda c: job_list.find(c, "sweep_1"),
    "speed": lambda c: job_list.speed(c, 1, 10, 2e9),
    "tasks": lambda c: task_list.page(c, TaskFilter()),
    "tasks of a job": lambda c: task_list.page(c, TaskFilter(1)),
    "tasks of a job, newest": lambda c: task_list.page(c, TaskFilter(1), newest=True),
    "tasks of a job, next page": lambda c: task_list.page(c, TaskFilter(1), after="500"),
    "tasks of a job and type": lambda c: task_list.page(c, TaskFilter(1, task_type=VERIFY)),
    "failed tasks of a job": lambda c: task_list.page(c, TaskFilter(1, state="failed")),
    "failed tasks": lambda c: task_list.page(c, TaskFilter(state="failed")),
    "tasks by outcome": lambda c: task_list.page(c, TaskFilter(1, outcome="FAIL"), limit=10),
    "failed tasks by duration": lambda c: sorted_tasks.page(c, TaskFilter(1, state="failed"), "duration"),
    "durations": lambda c: sorted_tasks.durations(c, range(1, 51)),
    "tasks of a worker": lambda c: task_list.page(c, TaskFilter(worker_id="worker-1"), limit=10),
    "tasks by text": lambda c: task_list.page(c, TaskFilter(1, text="size"), limit=10),
    "tasks by loop values": lambda c: task_list.page(c, TaskFilter(1, parameters={"size": "0.02"}), limit=10),
    "a task": lambda c: task_details.ancestors(c, _task(c)),
    "attempts": lambda c: task_details.attempts(c, _task(c).id),
    "log of an attempt": lambda c: task_details.log(c, _task(c, "synthesis_batman").accepted_attempt_id, level=20),
    "inputs": lambda c: task_details.files(c, _task(c)),
    "outputs": lambda c: task_details.files(c, _task(c, "synthesis_batman")),
    "output metadata": lambda c: task_details.output_metadata(c, _task(c)),
    "children": lambda c: task_details.children(c, _task(c).parent_id),
    "why it waits": lambda c: waiting.why_waiting(c, _waiting(c), 2e9, 300.0),
    "lineage up": lambda c: lineage.lineage(c, _product(c), "up"),
    "lineage down": lambda c: lineage.lineage(c, _product(c), "down"),
    "file by name": lambda c: lineage.find_product(c, "sweep/job1/0_0_0_0.lc.gz"),
    "files": file_list.page,
    "files of a job": lambda c: file_list.page(c, job_id=1, limit=10),
    "versions of a file": lambda c: file_list.of_product(c, _product(c)),
    "version": lambda c: file_list.version(c, 1),
    "log": lambda c: logs.page(c, limit=10),
    "log of a job": lambda c: logs.page(c, job_id=1, limit=10),
    "errors": lambda c: logs.page(c, level=40, limit=10),
    "errors of a job": lambda c: logs.page(c, job_id=1, level=40, limit=10),
    "timings": lambda c: attempt_list.page(c, limit=10),
    "timings of a job": lambda c: attempt_list.page(c, job_id=1, limit=10),
    "timeline": lambda c: attempt_list.timeline(c, 1, limit=50),
    "types with outcomes": lambda c: outcomes.types(c, 1),
}  # fmt: skip


BOUNDED = ("tasks by outcome", "tasks by text", "files of a job", "failed tasks by duration")


@contextmanager
def statements(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are executed, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        seen.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    yield seen
    event.remove(connection, "before_cursor_execute", note)


class PlansContract:
    engine = ""

    @pytest.fixture
    def databases(self) -> list[TaskDatabase]:
        raise NotImplementedError

    def cost(self, connection: Connection, read: Callable[[Connection], object]) -> int:
        """Return how much the engine reads, by its own counters."""
        raise NotImplementedError

    def full_reads(self, connection: Connection, statement: str, parameters: Any) -> list[str]:
        """Return the lines of EXPLAIN that read a large table as a whole."""
        raise NotImplementedError

    @pytest.mark.parametrize("name", READS)
    def test_large_tables_are_read_by_index(self, databases: list[TaskDatabase], name: str) -> None:
        with databases[1].read() as connection:
            with statements(connection) as seen:
                READS[name](connection)
            assert seen
            bad = [(line, statement) for statement, given in seen
                   for line in self.full_reads(connection, statement, given)]  # fmt: skip
        assert bad == []

    @pytest.mark.parametrize("name", READS)
    def test_a_larger_database_costs_no_more(self, databases: list[TaskDatabase], name: str) -> None:
        costs = []
        for database in databases:
            with database.read() as connection:
                costs.append(self.cost(connection, READS[name]))
        # Where a condition has no index a page looks at a bounded number of rows: the smaller one has fewer.
        bound = self.bounded if name in BOUNDED else self.enough
        assert costs[1] <= max(2 * costs[0], bound), costs

    enough = bounded = 0


def pair(urls: list[str]) -> list[TaskDatabase]:
    """Make a task database at each URL, each eight times as large as the one before."""
    made = []
    for number, url in enumerate(urls):
        database = TaskDatabase(url)
        database.create()
        initialise(database, load())
        DetailedGenerator(database, SMALL * FACTOR**number, 2).run()
        if not database.is_sqlite:
            with database.write() as connection:
                names = ", ".join(table.name for table in tables.metadata.sorted_tables)
                connection.exec_driver_sql(f"ANALYZE TABLE {names}")
        made.append(database)
    return made


@pytest.fixture(scope="module")
def sqlite_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TaskDatabase]]:
    folder = tmp_path_factory.mktemp("plans")
    made = pair([f"sqlite:///{folder}/{number}.sqlite" for number in range(2)])
    yield made
    for database in made:
        database.close()


@pytest.fixture(scope="module")
def mariadb_pair() -> Iterator[list[TaskDatabase]]:
    server = mariadb_server()
    made = pair([f"{server}eas_plans_{uuid.uuid4().hex[:12]}" for _ in range(2)])
    yield made
    for database in made:
        database.close()
        drop_database(database.url)


class TestSQLite(PlansContract):
    engine = "sqlite"
    enough, bounded = 60_000, 200_000  # instructions of the virtual machine, some twenty for a row

    @pytest.fixture
    def databases(self, sqlite_pair: list[TaskDatabase]) -> list[TaskDatabase]:
        return sqlite_pair

    def full_reads(self, connection: Connection, statement: str, parameters: Any) -> list[str]:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        scans = [row[3] for row in plan if row[3].startswith("SCAN")]
        return [line for line in scans if line.split()[1] in LARGE_TABLES and "USING" not in line]

    def cost(self, connection: Connection, read: Callable[[Connection], object]) -> int:
        steps = [0]

        def count() -> None:
            steps[0] += 1

        raw = connection.connection.dbapi_connection
        raw.set_progress_handler(count, 100)  # type: ignore[union-attr]
        read(connection)
        raw.set_progress_handler(None, 0)  # type: ignore[union-attr]
        return 100 * steps[0]


class TestMariaDB(PlansContract):
    engine = "mariadb"
    enough, bounded = 4_000, 15_000  # rows

    @pytest.fixture
    def databases(self, mariadb_pair: list[TaskDatabase]) -> list[TaskDatabase]:
        return mariadb_pair

    def full_reads(self, connection: Connection, statement: str, parameters: Any) -> list[str]:
        plan = connection.exec_driver_sql(f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters).mappings()
        rows = [row for row in plan if row["type"] in ("ALL", "index") and row["table"] in LARGE_TABLES]
        # The first rows of the primary key, in its order, are no whole table: the counters below agree.
        return [f"{row['table']}: {row['type']}" for row in rows if row["type"] == "ALL"]

    def cost(self, connection: Connection, read: Callable[[Connection], object]) -> int:
        def counters() -> int:
            rows = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
            return sum(int(value) for name, value in rows if not re.search("rnd_deleted|retry", name))

        before = counters()
        read(connection)
        after = counters()
        return after - before - (counters() - after)
