"""Making a product is claimed in SQL by one job at a time: one suite, inherited by sqlite and MariaDB."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from sqlalchemy import Connection, select

from eas.model import TaskSpec
from eas.states import JobState, TaskState
from eas.taskdb import attempts, jobs, product_claims, tables, tasks
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.product_claims import Registered
from tests.contract.chains import DIRECTORY, new_job
from tests.contract.engines import EngineContract


def add(connection: Connection, outputs: Mapping[str, str], *, job: int | None = None) -> tuple[int, int, Registered]:
    """Register a task that makes ``outputs``; return its job, its id and what was registered."""
    job = new_job(connection) if job is None else job
    task = tasks.reserve(connection, 1)
    names = {"job_name": "contract", "working_directory": DIRECTORY}
    spec = TaskSpec(address=str(task), path="", task_type="null", name=None, **names, metadata={}, settings={},
                    inputs={}, outputs=outputs)  # fmt: skip
    new = {task: tasks.NewTask(None, spec)}
    return job, task, tasks.add(connection, job, new, retries=0, max_stalls=0, now=1.0)


class ProductClaimsContract(EngineContract):
    def makers(self, database: TaskDatabase) -> dict[str, int]:
        with database.read() as connection:
            return {
                row[0]: row[1]
                for row in connection.execute(select(tables.products.c.name, tables.products.c.maker_task_id))
            }

    def test_the_second_job_is_refused_with_the_first_as_reason(self, database: TaskDatabase) -> None:
        job, first, registered = database.transact(lambda c: add(c, {"lightcurve": "a", "debugging": "b"}))
        assert registered.refused == {}
        _, second, registered = database.transact(lambda c: add(c, {"lightcurve": "b", "debugging": "c"}))
        assert list(registered.refused) == [second]
        assert f"/b is being made by job {job} (contract), task {first}, which is waiting" in registered.refused[second]
        assert self.makers(database) == {"a": first, "b": first, "c": second}

    @pytest.mark.parametrize("what", ["task", "job"])
    def test_what_is_over_claims_nothing(self, database: TaskDatabase, what: str) -> None:
        job, first, _ = database.transact(lambda c: add(c, {"lightcurve": "a"}))
        if what == "task":
            database.transact(lambda c: attempts.set_task_states(c, [first], TaskState.FAILED))
        else:
            database.transact(lambda c: jobs.set_state(c, job, JobState.FAILED))
        _, second, registered = database.transact(lambda c: add(c, {"lightcurve": "a"}))
        assert registered.refused == {}
        assert self.makers(database) == {"a": second}

    def test_within_a_job_the_first_unfinished_task_keeps_the_claim(self, database: TaskDatabase) -> None:
        job, first, _ = database.transact(lambda c: add(c, {"lightcurve": "a"}))
        _, second, registered = database.transact(lambda c: add(c, {"lightcurve": "a"}, job=job))
        assert registered.refused == {}, "the job's dependency graph decides"
        assert self.makers(database) == {"a": first}
        database.transact(lambda c: attempts.set_task_states(c, [first], TaskState.DONE))
        assert database.transact(lambda c: product_claims.reclaim_outputs(c, job, [second])) == {}
        assert self.makers(database) == {"a": second}

    def test_a_claim_that_was_lost_is_not_won_back_while_the_other_job_runs(self, database: TaskDatabase) -> None:
        job, first, _ = database.transact(lambda c: add(c, {"lightcurve": "a"}))
        database.transact(lambda c: attempts.set_task_states(c, [first], TaskState.FAILED))
        _, second, _ = database.transact(lambda c: add(c, {"lightcurve": "a"}))
        database.transact(lambda c: attempts.set_task_states(c, [first], TaskState.WAITING))
        assert list(database.transact(lambda c: product_claims.reclaim_outputs(c, job, [first]))) == [first]
        database.transact(lambda c: attempts.set_task_states(c, [second], TaskState.DONE))
        assert database.transact(lambda c: product_claims.reclaim_outputs(c, job, [first])) == {}

    @pytest.mark.parametrize("known_before", [False, True])
    def test_of_many_at_once_one_wins(self, database: TaskDatabase, known_before: bool) -> None:
        outputs = {f"output-{number}": f"file-{number}" for number in range(20)}
        if known_before:
            _, task, _ = database.transact(lambda c: add(c, outputs))
            database.transact(lambda c: attempts.set_task_states(c, [task], TaskState.DONE))
        claimed: list[tuple[int, bool]] = []
        start = threading.Barrier(4)

        def register() -> None:
            start.wait(30)
            _, task, registered = database.transact(lambda c: add(c, outputs))
            claimed.append((task, not registered.refused))

        threads = [threading.Thread(target=register) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        (winner,) = [task for task, won in claimed if won]
        assert len(claimed) == 4
        assert set(self.makers(database).values()) == {winner}


class TestSQLite(ProductClaimsContract):
    engine = "sqlite"


class TestMariaDB(ProductClaimsContract):
    engine = "mariadb"
