"""What is shown of one task, its files and why it waits: one suite, inherited by sqlite and MariaDB."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from benchmarks.detailed_database import DetailedGenerator
from eas.errors import UnknownFileError, UnknownTaskError
from eas.model import CHAIN, TaskSpec
from eas.states import AttemptState, TaskState
from eas.taskdb import attempts, job_lease, tables, tasks
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import lineage, task_details, waiting
from eas.taskdb.queries.waiting import Obstacle
from tests.contract.chains import DIRECTORY, new_job, new_worker, queue_tasks
from tests.contract.engines import EngineContract

SEARCH = "transit_search_bls_reference"


def task_of(name: str, task_type: str, number: int, **values: Any) -> TaskSpec:
    known: dict[str, Any] = {"inputs": {}, "outputs": {}, "metadata": {}} | values
    return TaskSpec(address=f"0.{number}", path=f"task_list[{number}]", task_type=task_type, name=name, settings={},
                    job_name="contract", working_directory=DIRECTORY, **known)  # fmt: skip


def family(connection: Connection) -> tuple[int, int]:
    """Write a job with a chain of a maker and a reader that also needs its metadata; return the ids of both."""
    job = new_job(connection)
    first = tasks.reserve(connection, 3)
    new = {
        first: tasks.NewTask(None, task_of("root", CHAIN, 0)),
        first + 1: tasks.NewTask(first, task_of("maker", "null", 0, outputs={"lightcurve": "a/b.lc"})),
        first + 2: tasks.NewTask(
            first, task_of("reader", "verify", 1, inputs={"lightcurve": "a/b.lc", "other": "none.lc"},
                           requires=("maker",))
        ),
    }  # fmt: skip
    tasks.add(connection, job, new, retries=0, max_stalls=5, now=time.time())
    return first + 1, first + 2


class TaskDetailsContract(EngineContract):
    @pytest.fixture
    def filled(self, database: TaskDatabase) -> TaskDatabase:
        DetailedGenerator(database, 300, 2).run()
        return database

    def find(self, database: TaskDatabase, task_type: str, state: TaskState = TaskState.DONE) -> int:
        table = tables.tasks
        query = select(table.c.id).where(table.c.task_type == task_type, table.c.state == state)
        with database.read() as connection:
            return int(connection.execute(query.order_by(table.c.id).limit(1)).scalar_one())

    def why(self, database: TaskDatabase, task_id: int, now: float | None = None) -> list[Obstacle]:
        with database.read() as connection:
            return waiting.why_waiting(connection, task_details.get(connection, task_id), now or time.time(), 300.0)

    def test_a_task_is_found_with_its_place_files_and_attempts(self, filled: TaskDatabase) -> None:
        task_id = self.find(filled, SEARCH)
        with filled.read() as connection:
            task = task_details.get(connection, task_id)
            above = task_details.ancestors(connection, task)
            (file,) = task_details.files(connection, task)
            tried = task_details.attempts(connection, task_id)
            siblings = task_details.children(connection, task.parent_id)
            output = task_details.output_metadata(connection, task)
        assert task_details.label(task).startswith(f"{SEARCH} [size=0.02, orbital_period=0.02, noise=0.02, real")
        assert above[0].parent_id is None
        assert above[-1].id == task.parent_id
        assert len(above) == 9, "the root, and a loop and a chain for each of four parameters"
        assert [row.ordinal for row in siblings] == [0, 1, 2]
        assert siblings[2].id == task_id
        assert (file.direction, file.semantic, file.version.size) == ("in", "lightcurve", 20_000)
        assert file.maker_task_id == siblings[0].id
        assert [row.number for row in tried] == [1]
        assert tried[0].host == f"node-{1 + int(tried[0].worker_id[-1]) % 2}"
        assert output["outcome"] in ("PASS", "FAIL")

    def test_children_come_in_pages(self, filled: TaskDatabase) -> None:
        with filled.read() as connection:
            task = task_details.get(connection, self.find(filled, SEARCH))
            first = task_details.children(connection, task.parent_id, limit=2)
            rest = task_details.children(connection, task.parent_id, after=first[-1].ordinal, limit=2)
        assert [row.ordinal for row in [*first, *rest]] == [0, 1, 2]

    def test_the_log_of_an_attempt_is_read_by_level_and_in_pages(self, filled: TaskDatabase) -> None:
        with filled.read() as connection:
            task = task_details.get(connection, self.find(filled, "synthesis_batman"))
            attempt = task.accepted_attempt_id
            (entry,) = task_details.log(connection, attempt)
            assert (entry.message, entry.level) == ("synthesised", 20)
            assert task_details.log(connection, attempt, level=30) == []
            assert task_details.log(connection, attempt, after=entry.id) == []

    def test_unknown_tasks_and_files_are_refused(self, filled: TaskDatabase) -> None:
        with filled.read() as connection:
            with pytest.raises(UnknownTaskError, match="no task 0"):
                task_details.get(connection, 0)
            for name in ("nope", "sweep/nope", "0", "", "/", "9" * 400, "٣"):
                with pytest.raises(UnknownFileError):
                    lineage.find_product(connection, name)

    def test_lineage_goes_both_ways(self, filled: TaskDatabase) -> None:
        with filled.read() as connection:
            task = task_details.get(connection, self.find(filled, SEARCH))
            (file,) = task_details.files(connection, task)
            named = lineage.find_product(connection, f"{file.working_directory}/{file.name}")
            assert lineage.find_product(connection, file.name).id == named.id == file.product_id
            up = lineage.lineage(connection, named.id, "up")
            down = lineage.lineage(connection, named.id, "down")
        assert list(up.tasks) == [file.maker_task_id]
        assert [edge.direction for edge in up.edges] == ["out"]
        assert task.id in down.tasks
        assert len(down.tasks) == 2
        assert not (up.truncated or down.truncated)
        assert list(down.files) == [named.id]

    def test_a_long_lineage_is_cut_at_its_limit(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            job, first = new_job(connection), tasks.reserve(connection, 30)
            for step in range(30):
                files = {"inputs": {"lightcurve": f"{step}"}, "outputs": {"lightcurve": f"{step + 1}"}}
                new = {first + step: tasks.NewTask(None, task_of(f"{step}", "multiply", step, **files))}
                tasks.add(connection, job, new, retries=0, max_stalls=0, now=1.0)
        with database.read() as connection:
            start = lineage.find_product(connection, f"{DIRECTORY}/0").id
            end = lineage.find_product(connection, f"{DIRECTORY}/30").id
            assert len(lineage.lineage(connection, start, "down").tasks) == 30
            assert len(lineage.lineage(connection, end, "up").tasks) == 30
            assert len(lineage.lineage(connection, end, "up", depth=4).tasks) == 4
            cut = lineage.lineage(connection, start, "down", limit=7)
        assert (len(cut.tasks), cut.truncated) == (7, True)

    def test_many_readers_are_cut_at_the_limit(self, database: TaskDatabase) -> None:
        with database.write() as connection:
            job, first = new_job(connection), tasks.reserve(connection, 50)
            new = {
                first + step: tasks.NewTask(None, task_of("r", "verify", step, inputs={"lightcurve": "one"}))
                for step in range(50)
            }
            tasks.add(connection, job, new, retries=0, max_stalls=0, now=1.0)
        with database.read() as connection:
            start = lineage.find_product(connection, "one").id
            cut = lineage.lineage(connection, start, "down", limit=20)
            page = lineage.readers(connection, start, after=first + 39)
        assert (len(cut.tasks), cut.truncated) == (20, True)
        assert [row.task_id for row in page] == list(range(first + 40, first + 50))

    def test_why_a_task_waits_names_maker_file_and_metadata(self, database: TaskDatabase) -> None:
        maker, reader = database.transact(family)
        found = self.why(database, reader)
        by_kind = {(each.kind, each.task_id): each for each in found}
        assert set(by_kind) == {("input", maker), ("input", None), ("metadata", maker), ("driver", None)}
        assert f"a/b.lc is made by task {maker}, null" in by_kind["input", maker].text
        assert "none.lc: no task makes it" in by_kind["input", None].text
        assert "eas run --resume" in by_kind["driver", None].hint
        database.transact(lambda c: attempts.set_task_states(c, [maker], TaskState.DONE))
        assert {each.kind for each in self.why(database, reader)} == {"input", "driver"}

    def test_a_task_for_which_everything_is_there_is_ready(self, database: TaskDatabase) -> None:
        maker, _ = database.transact(family)
        with database.read() as connection:
            job = task_details.get(connection, maker).job_id
        now = database.now()
        database.transact(lambda c: job_lease.take(c, job, "driver-1", 60.0, now))
        assert [each.kind for each in self.why(database, maker, now)] == ["ready"]
        database.transact(
            lambda c: c.execute(update(tables.tasks).where(tables.tasks.c.id == maker).values(held_at=now)).rowcount
        )
        assert [each.kind for each in self.why(database, maker, now)] == ["withdrawn"]
        assert [each.kind for each in self.why(database, maker, now + 100)] == ["withdrawn", "driver"]

    def test_why_a_queued_task_waits(self, database: TaskDatabase) -> None:
        queued = queue_tasks(database, ["null"] * 3, available_at=database.now() + 100)
        with database.read() as connection:
            table = tables.attempts
            task_id = connection.execute(select(table.c.task_id).where(table.c.id == queued[2].attempt_id)).scalar_one()
        found = self.why(database, task_id)
        assert [each.kind for each in found] == ["backoff", "worker", "queue"]
        assert found[2].text.startswith("2 attempts are ahead")
        assert "eas worker --type eas-base" in found[1].hint
        new_worker(database, "w", ("eas-worker-tls",))  # every worker runs the tasks of the base type, too
        assert [each.kind for each in self.why(database, task_id)] == ["backoff", "queue"]

    def test_a_running_control_task_waits_for_its_children(self, database: TaskDatabase) -> None:
        maker, reader = database.transact(family)
        root = maker - 1
        database.transact(lambda c: attempts.set_task_states(c, [root], TaskState.RUNNING))
        assert [each.task_id for each in self.why(database, root)] == [maker, reader]
        assert self.why(database, root, 1.0) and not self.why(database, root)[0].hint

    def test_inputs_show_the_version_that_was_read(self, filled: TaskDatabase) -> None:
        """A newer version of the product does not change what the task read."""
        task_id = self.find(filled, SEARCH)
        with filled.write() as connection:
            (file,) = task_details.files(connection, task_details.get(connection, task_id))
            version = task_details.versions(connection, [file.version.id])[file.version.id]
            newer = version._asdict() | {"id": 90_000, "size": 5}
            connection.execute(tables.product_versions.insert().values(newer))
            product = tables.products
            connection.execute(update(product).where(product.c.id == file.product_id).values(current_version_id=90_000))
            (again,) = task_details.files(connection, task_details.get(connection, task_id))
        assert again.version.size == 20_000

    def test_qc_checks_are_read(self, filled: TaskDatabase) -> None:
        with filled.write() as connection:
            task_id = self.find(filled, SEARCH)
            row = task_details.attempts(connection, task_id)[0]
            seen = json.dumps([["flux", False, "NaN at 3"]])
            table = tables.attempt_results
            connection.execute(update(table).where(table.c.attempt_id == row.id).values(checks=seen))
            row = task_details.attempts(connection, task_id)[0]
        assert task_details.checks(row) == [("flux", False, "NaN at 3")]
        assert AttemptState(row.state).final


class TestSQLite(TaskDetailsContract):
    engine = "sqlite"


class TestMariaDB(TaskDetailsContract):
    engine = "mariadb"
