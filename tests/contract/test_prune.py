"""``eas db prune``: one suite, inherited by sqlite and MariaDB, on jobs that real workers have run."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, update

from eas.cli import cli
from eas.errors import RequestError
from eas.operations import prune as pruning
from eas.operations.prune import plan, prune
from eas.operations.reschedule import reschedule
from eas.states import AttemptState
from eas.taskdb import prune as statements
from eas.taskdb import tables
from tests.contract.chains import new_worker
from tests.integration.harness import System
from tests.processes import MAX_TIMEOUT

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

DAY = 86400.0
NULL = {"task": "null", "duration": 0}
ERROR = {"task": "error"}
MAKER = {
    "task": "synthesis_batman",
    "outputs": {"lightcurve": "a.lc"},
    "specs": {"duration": 2, "sampling_cadence": 600},
}
READER = {"task": "verify", "inputs": {"lightcurve": "a.lc"}}
OF_JOBS = ("jobs", "tasks", "attempts", "attempt_results", "attempt_inputs", "log_entries", "task_products", "products",
           "product_versions")  # fmt: skip


class PruneContract:
    engine = ""

    @pytest.fixture
    def system(self, database_url: Callable[[str], str], tmp_path: Path) -> Iterator[System]:
        made = System(tmp_path, database_url=database_url(self.engine))
        yield made
        made.app.close()

    def run(self, system: System, *tasks: dict[str, Any], days: float = 100, **options: Any) -> int:
        """Run a job, and let it have ended some days ago."""
        job = system.run(list(tasks), **options).job_id
        ended = tables.jobs.c.ended_at - days * DAY
        system.app.database.transact(
            lambda c: c.execute(update(tables.jobs).where(tables.jobs.c.id == job).values(ended_at=ended))
        )
        return job

    def prune(self, system: System, **options: Any) -> pruning.Pruned:
        """Prune what is older than 30 days, and check that this was what the plan had said."""
        before = system.app.database.now() - 30 * DAY
        planned = plan(system.app.database, system.app.store, before, **options)
        done = prune(system.app.database, system.app.store, before, **options)
        assert done == planned
        return done

    def counts(self, system: System) -> dict[str, int]:
        """Return the number of rows of each table about jobs that is not empty."""
        with system.app.database.read() as connection:
            found = {
                name: connection.execute(select(func.count()).select_from(tables.metadata.tables[name])).scalar_one()
                for name in OF_JOBS
            }
        return {name: int(count) for name, count in found.items() if count}

    def files(self, system: System) -> list[str]:
        root = system.app.settings.data_directory / "store"
        return sorted(str(each.relative_to(root)) for each in root.rglob("*") if each.is_file())

    def test_an_old_job_without_products_is_removed_and_others_stay(self, system: System) -> None:
        old, young = self.run(system, NULL, ERROR), self.run(system, NULL, days=10)
        unfinished = system.submit([NULL])
        done = self.prune(system)
        assert done.jobs == [old]
        assert (done.removed.tasks, done.removed.attempts) == (3, 2)
        assert done.removed.log_entries > 0
        with system.app.database.read() as connection:
            assert set(connection.execute(select(tables.jobs.c.id)).scalars()) == {young, unfinished}
            assert set(connection.execute(select(tables.tasks.c.job_id)).scalars()) == {young, unfinished}
            assert set(connection.execute(select(tables.log_entries.c.job_id)).scalars()) <= {young}
        assert self.counts(system)["attempt_results"] == 1

    def test_a_dry_run_changes_nothing(self, system: System) -> None:
        self.run(system, NULL, MAKER)
        before, files = self.counts(system), self.files(system)
        assert plan(system.app.database, system.app.store, time.time(), products=True).jobs
        assert (self.counts(system), self.files(system)) == (before, files)

    def test_a_job_with_products_stays_without_its_logs_and_superseded_attempts(self, system: System) -> None:
        job = self.run(system, MAKER, ERROR, retries=2, backoff=0)
        done = self.prune(system)
        assert (done.jobs, done.reduced) == ([], [job])
        with system.app.database.read() as connection:
            query = select(tables.attempts.c.task_type, tables.attempts.c.number, tables.attempts.c.state)
            left = sorted(tuple(row) for row in connection.execute(query))
        assert left == [("error", 3, AttemptState.FAILED), ("synthesis_batman", 1, AttemptState.DONE)]
        assert "log_entries" not in self.counts(system)
        # What the product says of itself is still there for later jobs.
        assert system.run([READER], name="later").succeeded
        assert not self.prune(system).reduced, "a second time there is nothing left to do"

    def test_products_are_removed_on_request_with_files_and_names(self, system: System) -> None:
        job = self.run(system, MAKER)
        assert len(self.files(system)) == 2
        done = self.prune(system, products=True)
        assert (done.jobs, done.removed.versions) == ([job], 1)
        assert done.removed.size > 0
        assert self.files(system) == []
        assert self.counts(system) == {}
        assert system.run([MAKER]).succeeded, "it can be made again"

    def test_what_another_job_reads_stays_until_that_is_removed_too(self, system: System) -> None:
        maker = self.run(system, MAKER)
        reader = self.run(system, READER, name="reader", days=10)
        done = self.prune(system, products=True)
        assert (done.jobs, done.reduced) == ([], [maker])
        assert len(self.files(system)) == 2

        aged = update(tables.jobs).where(tables.jobs.c.id == reader).values(ended_at=time.time() - 50 * DAY)
        system.app.database.transact(lambda c: c.execute(aged))
        assert self.prune(system, products=True).jobs == [reader, maker]
        assert self.counts(system) == {}

    def test_what_a_waiting_job_may_read_stays(self, system: System) -> None:
        self.run(system, MAKER)
        waiting = system.submit([READER], name="waiting")
        assert self.prune(system, products=True).jobs == []
        with system.worker():
            system.drive(waiting)
        assert system.summary(waiting).succeeded

    @pytest.mark.parametrize(("directory", "stays"), [("wd", True), ("('w' + 'd')", True), ("other", False)])
    def test_what_is_where_an_unfinished_job_works_stays(self, system: System, directory: str, stays: bool) -> None:
        maker = self.run(system, MAKER)
        nested = {"task": "execution_chain", "task_list": [NULL | {"working_directory": directory}]}
        system.submit({"working_directory": "elsewhere", "task_list": [nested]}, name="unfinished")
        assert (maker not in self.prune(system, products=True).jobs) is stays

    def test_a_chain_that_no_longer_parses_may_read_anything(self, system: System) -> None:
        maker = self.run(system, MAKER)
        broken = system.submit({"working_directory": "elsewhere", "task_list": [NULL]}, name="broken")
        damaged = update(tables.jobs).where(tables.jobs.c.id == broken).values(chain='{"task_list": [')
        system.app.database.transact(lambda c: c.execute(damaged))
        assert maker not in self.prune(system, products=True).jobs

    def test_what_a_later_job_has_kept_stays(self, system: System) -> None:
        maker = self.run(system, MAKER, seed="1")
        self.run(system, MAKER, seed="1", if_exists="reuse", days=10)
        assert self.counts(system)["product_versions"] == 1
        assert maker not in self.prune(system, products=True).jobs

    def test_the_version_before_has_the_name_again(self, system: System) -> None:
        self.run(system, MAKER, days=0, seed="1")
        published = system.app.settings.data_directory / "store" / "wd" / "a.lc"
        first = published.read_bytes()
        newer = self.run(system, MAKER, seed="2", if_exists="replace")
        self.prune(system, products=True)
        with system.app.database.read() as connection:
            assert newer not in set(connection.execute(select(tables.jobs.c.id)).scalars())
        assert published.read_bytes() == first
        assert system.run([READER], name="later").succeeded

    def test_a_job_whose_removal_was_interrupted_is_left_alone_and_removed_by_the_next_call(
        self, system: System
    ) -> None:
        job = self.run(system, NULL, ERROR)
        database, before = system.app.database, time.time() - DAY
        assert database.transact(lambda c: statements.mark_for_removal(c, job, before, time.time(), products=False))
        assert database.transact(lambda c: statements.remove_attempts(c, job, 1))[0] == 1
        assert reschedule(database, system.app.queue, job_id=job).total == 0
        assert prune(database, system.app.store, before).jobs == [job]
        assert self.counts(system) == {}

    def test_a_job_that_was_rescheduled_since_the_plan_stays(self, system: System) -> None:
        job = self.run(system, ERROR)
        database = system.app.database
        assert reschedule(database, system.app.queue, job_id=job).total == 1
        assert not database.transact(
            lambda c: statements.mark_for_removal(c, job, time.time(), time.time(), products=True)
        )
        with system.worker():
            system.drive(job)
        assert not system.summary(job).succeeded

    def test_only_staging_folders_that_no_living_worker_made_are_leftovers(self, system: System) -> None:
        scratch = system.app.store.scratch
        now = time.time()
        for name, age in [("old", 10 * DAY), ("between", 3 * DAY), ("young", 60.0)]:
            (scratch / name / "task").mkdir(parents=True)
            os.utime(scratch / name, (now - age, now - age))
        worker = new_worker(system.app.database, "w")
        started = update(tables.workers).where(tables.workers.c.id == worker).values(started_at=now - 5 * DAY)
        system.app.database.transact(lambda c: c.execute(started))
        assert self.prune(system).leftovers == [str(scratch / "old")]
        left = update(tables.workers).where(tables.workers.c.id == worker).values(state="left")
        system.app.database.transact(lambda c: c.execute(left))
        assert self.prune(system).leftovers == [str(scratch / "between")]
        assert [each.name for each in scratch.iterdir()] == ["young"]

    def test_a_pipeline_runs_beside(self, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(statements, "MAX_IN_VALUES", 20)
        old = [self.run(system, *[NULL] * 30, ERROR, name=f"old{number}") for number in range(3)]
        job = system.submit([NULL] * 100, name="beside")
        removed: list[int] = []
        before = time.time() - DAY
        thread = threading.Thread(
            target=lambda: removed.extend(prune(system.app.database, system.app.store, before).jobs)
        )
        with system.worker():
            thread.start()
            system.drive(job)
        thread.join()
        assert sorted(removed) == old
        assert system.summary(job).succeeded
        assert self.counts(system)["jobs"] == 1


class TestSQLite(PruneContract):
    engine = "sqlite"


class TestMariaDB(PruneContract):
    engine = "mariadb"


@pytest.mark.filterwarnings("ignore")
def test_the_command_says_what_it_would_do_and_does_it_with_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    system = System(tmp_path)
    job = system.run([NULL]).job_id
    aged = update(tables.jobs).where(tables.jobs.c.id == job).values(ended_at=time.time() - 50 * DAY)
    system.app.database.transact(lambda c: c.execute(aged))
    system.app.close()

    def eas(*arguments: str) -> Any:
        return CliRunner().invoke(cli, ["db", "prune", *arguments])

    assert json.loads(eas("--older-than", "60d", "--json").output)["jobs"] == []
    assert "would be removed with --apply: 1 jobs" in eas("--older-than", "40d").output
    assert json.loads(eas("--older-than", "40d", "--apply", "--json").output)["jobs"] == [job]
    assert json.loads(eas("--older-than", "40d", "--json").output)["jobs"] == []
    for wrong in ("yesterday", "2999-01-01", ""):
        refused = eas("--older-than", wrong, "--apply").exception
        assert isinstance(refused, RequestError)
        assert "--older-than" in str(refused)
