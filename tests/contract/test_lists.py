"""Lists of jobs, tasks, files, logs and attempts, page by page: one suite, inherited by sqlite and MariaDB."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from benchmarks.detailed_database import DetailedGenerator
from eas.errors import RequestError, UnknownFileError, UnknownJobError
from eas.model import CONTROL_TASKS
from eas.states import AttemptState, TaskState
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import (
    attempt_list,
    file_list,
    job_list,
    keyset,
    logs,
    outcomes,
    progress,
    sorted_tasks,
    task_list,
)
from eas.taskdb.queries.keyset import Page
from eas.taskdb.queries.task_list import TaskFilter
from tests.contract.engines import EngineContract

SEARCH = "transit_search_bls_reference"


def all_pages(read: Callable[[str | None], Page]) -> list[Any]:
    """Return the rows of all pages, and check that no page is endless."""
    rows: list[Any] = []
    after = None
    for _ in range(2000):
        page = read(after)
        rows += page.rows
        if page.next is None:
            return rows
        after = page.next
    raise AssertionError("the pages do not end")


class ListsContract(EngineContract):
    @pytest.fixture
    def filled(self, database: TaskDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
        monkeypatch.setattr("benchmarks.detailed_database.FAILURES", 0.05)
        DetailedGenerator(database, 600, 3).run()
        with database.read() as connection:
            yield connection

    def tasks(self, connection: Connection) -> list[Any]:
        return list(connection.execute(select(tables.tasks).order_by(tables.tasks.c.id)).all())

    def check(self, connection: Connection, wanted: TaskFilter, expected: Callable[[Any], bool]) -> list[int]:
        """Check the pages of a filter against all tasks, and return their ids."""
        found = [row.id for row in all_pages(lambda after: task_list.page(connection, wanted, after=after, limit=7))]
        ids = [row.id for row in self.tasks(connection) if expected(row)]
        assert sorted(found) == ids
        assert ids, "the filter finds something"
        return found

    def test_tasks_of_a_job_come_in_order_either_way(self, filled: Connection) -> None:
        found = self.check(filled, TaskFilter(2), lambda row: row.job_id == 2)
        assert found == sorted(found)
        newest = all_pages(lambda after: task_list.page(filled, TaskFilter(2), after=after, limit=20, newest=True))
        assert [row.id for row in newest] == found[::-1]

    def test_tasks_by_type_and_state(self, filled: Connection) -> None:
        self.check(filled, TaskFilter(1, task_type="verify"), lambda row: (row.job_id, row.task_type) == (1, "verify"))
        self.check(filled, TaskFilter(1, state="failed"), lambda row: (row.job_id, row.state) == (1, "failed"))
        self.check(filled, TaskFilter(state="failed"), lambda row: row.state == "failed")
        self.check(filled, TaskFilter(state="waiting"), lambda row: row.state == "waiting")
        self.check(filled, TaskFilter(), lambda row: True)

    def test_tasks_by_text_whatever_its_case(self, filled: Connection) -> None:
        reason = next(row.reason for row in self.tasks(filled) if row.job_id == 3 and row.reason)
        wanted = TaskFilter(3, text=reason.swapcase())
        self.check(filled, wanted, lambda row: row.job_id == 3 and reason in (row.reason or ""))
        nothing = task_list.page(filled, TaskFilter(3, text="100%_nothing"))
        assert nothing == Page([], None, nothing.rows_examined)

    def test_tasks_by_loop_values(self, filled: Connection) -> None:
        def has(row: Any, **values: float) -> bool:
            known = json.loads(row.metadata)
            leaf = row.task_type not in CONTROL_TASKS
            return row.job_id == 2 and leaf and all(known.get(name) == value for name, value in values.items())

        self.check(filled, TaskFilter(2, parameters={"size": "0.02"}), lambda row: has(row, size=0.02))
        inner = TaskFilter(2, parameters={"realisation": "0.0260"}, task_type="verify")
        self.check(filled, inner, lambda row: has(row, realisation=0.026) and row.task_type == "verify")
        both = TaskFilter(2, parameters={"size": "0.02", "noise": "2.6e-2"})
        self.check(filled, both, lambda row: has(row, size=0.02, noise=0.026))
        failed = TaskFilter(2, parameters={"noise": "0.02"}, state="failed")
        self.check(filled, failed, lambda row: has(row, noise=0.02) and row.state == "failed")
        none = all_pages(lambda after: task_list.page(filled, TaskFilter(2, parameters={"size": "x"}), after=after))
        assert none == []

    def test_loop_values_of_all_jobs(self, filled: Connection) -> None:
        def has(row: Any) -> bool:
            return row.task_type not in CONTROL_TASKS and json.loads(row.metadata).get("noise") == 0.02

        self.check(filled, TaskFilter(parameters={"noise": "0.02"}), has)

    def test_tasks_by_outcome_and_worker(self, filled: Connection) -> None:
        accepted = [row.accepted_attempt_id for row in self.tasks(filled)]
        results = outcomes.results(filled, accepted)

        def missed(row: Any) -> bool:
            return row.job_id == 1 and results.get(row.accepted_attempt_id, {}).get("outcome") == "FAIL"

        self.check(filled, TaskFilter(1, outcome="FAIL"), missed)
        table = tables.attempts
        of_search = (table.c.task_type == SEARCH, table.c.job_id == 1, table.c.state == "done")
        worker = filled.execute(select(table.c.worker_id).where(*of_search).limit(1)).scalar_one()
        mine = set(filled.execute(select(table.c.task_id).where(table.c.worker_id == worker)).scalars())
        self.check(filled, TaskFilter(worker_id=worker), lambda row: row.id in mine)
        wanted = TaskFilter(1, outcome="*", worker_id=worker)
        searched = self.check(filled, wanted, lambda row: row.id in mine and row.job_id == 1 and row.task_type == SEARCH
                              and row.state == "done")  # fmt: skip
        assert searched

    def test_tasks_sorted_by_end_duration_and_text(self, filled: Connection) -> None:
        wanted = TaskFilter(1, task_type=SEARCH)
        tasks = {row.id: row for row in self.tasks(filled) if (row.job_id, row.task_type) == (1, SEARCH)}
        walls = sorted_tasks.durations(
            filled, [row.accepted_attempt_id for row in tasks.values() if row.accepted_attempt_id]
        )
        keys: dict[str, Callable[[Any], Any]] = {
            "ended": lambda row: -row.ended_at if row.ended_at is not None else float("inf"),
            "duration": lambda row: -walls.get(row.accepted_attempt_id, float("-inf")),
            "name": lambda row: row.name or "",
            "state": lambda row: row.state,
            "type": lambda row: row.task_type,
        }
        assert set(keys) == set(sorted_tasks.ORDERS)
        assert len(walls) > 20

        for order, key in keys.items():

            def read(after: str | None, order: str = order) -> Page:
                page = sorted_tasks.page(filled, wanted, order, after=after, limit=7)
                assert page is not None
                return page

            found = [row.id for row in all_pages(read)]
            assert sorted(found) == sorted(tasks)
            assert found == sorted(found, key=lambda each, key=key: key(tasks[each])), order

    def test_too_many_tasks_are_not_sorted(self, filled: Connection, monkeypatch: Any) -> None:
        monkeypatch.setattr(sorted_tasks, "MAX_SORTED_TASKS", 10)
        assert sorted_tasks.page(filled, TaskFilter(1), "ended") is None
        with pytest.raises(RequestError, match="no order 'size'"):
            sorted_tasks.page(filled, TaskFilter(1), "size")

    def test_a_page_looks_at_a_bounded_number_of_tasks(self, filled: Connection, monkeypatch: Any) -> None:
        monkeypatch.setattr(task_list, "BUDGET", 100)
        first = task_list.page(filled, TaskFilter(2, text="no such text"))
        assert (first.rows, first.rows_examined) == ([], 100)
        assert first.next is not None
        rows = all_pages(lambda after: task_list.page(filled, TaskFilter(2, text="no such text"), after=after))
        assert rows == []

    def test_a_search_that_takes_long_goes_on_with_the_next_page(self, filled: Connection, monkeypatch: Any) -> None:
        """Whatever the time allows, all pages together have the same tasks."""
        wanted = (
            TaskFilter(3, text="valueerror"),
            TaskFilter(3, parameters={"noise": "0.02"}),
            TaskFilter(3, outcome="*"),
        )
        whole = [[row.id for row in all_pages(lambda after: task_list.page(filled, each, after=after))]  # noqa: B023
                 for each in wanted]  # fmt: skip
        monkeypatch.setattr(keyset, "MAX_SEARCH_TIME", -1.0)
        assert task_list.page(filled, wanted[0]).next is not None
        for each, expected in zip(wanted, whole, strict=True):
            assert [row.id for row in all_pages(lambda after: task_list.page(filled, each, after=after))] == expected  # noqa: B023

    @pytest.mark.parametrize("after", ["x", "-1", "1.x", "٣", "9" * 30, "1; DROP TABLE tasks"])
    def test_a_place_that_is_none_is_refused(self, filled: Connection, after: str) -> None:
        for wanted in (TaskFilter(1), TaskFilter(), TaskFilter(1, parameters={"size": "1"}), TaskFilter(worker_id="w")):
            if after == "9" * 30 and wanted.parameters:
                continue
            with pytest.raises(RequestError, match="not a valid page"):
                task_list.page(filled, wanted, after=after)

    def test_an_unknown_state_is_refused(self, filled: Connection) -> None:
        with pytest.raises(RequestError, match="no state 'odd'"):
            TaskFilter(state="odd")
        with pytest.raises(RequestError, match="no state 'odd'"):
            job_list.page(filled, state="odd")

    def test_jobs_with_counts_and_speed(self, filled: Connection) -> None:
        rows = all_pages(lambda after: job_list.page(filled, before=after, limit=2))
        assert [row.id for row in rows] == [3, 2, 1]
        counts = progress.counts(filled, [1, 2, 3])
        everything = self.tasks(filled)
        assert sum(counts[2].values()) == sum(row.job_id == 2 for row in everything)
        totals = job_list.totals(counts[3])
        leaves = [row for row in everything if row.job_id == 3 and row.task_type not in CONTROL_TASKS]
        assert totals.total == len(leaves)
        assert totals.unfinished == sum(row.state == TaskState.WAITING for row in leaves) > 0
        last = max(row.ended_at for row in leaves)
        speed = job_list.speed(filled, 3, totals.unfinished, last + 10)
        assert 0.1 < speed.rate < 2
        assert speed.eta == totals.unfinished / speed.rate
        assert job_list.speed(filled, 99, 5, last).eta is None

    def test_a_job_is_named_by_id_or_unique_name(self, filled: Connection) -> None:
        assert job_list.find(filled, "2").name == "sweep_2"
        assert job_list.find(filled, "sweep_3").id == 3
        for unknown in ("77", "sweep", "", "9" * 30, "٣"):
            with pytest.raises(UnknownJobError):
                job_list.find(filled, unknown)

    def test_a_name_of_several_jobs_is_the_unfinished_one(self, database: TaskDatabase) -> None:
        row = {"working_directory": "w", "chain": "{}", "source": "s", "seed": "0", "if_exists": "fail", "retries": 0}
        row |= {"backoff": 1.0, "priority": 0, "submitted_at": 1.0, "name": "n"}
        with database.write() as connection:
            for job_id, state in enumerate(("done", "failed"), 1):
                connection.execute(insert(tables.jobs).values(id=job_id, state=state, **row))
            with pytest.raises(RequestError, match=r"2 \(failed\), 1 \(done\)"):
                job_list.find(connection, "n")
            connection.execute(insert(tables.jobs).values(id=3, state="running", **row))
            assert job_list.find(connection, "n").id == 3

    def test_logs_by_level_and_job(self, filled: Connection) -> None:
        everything = filled.execute(select(tables.log_entries)).all()
        for job_id, level in ((None, 0), (None, 40), (2, 0), (2, 30)):
            rows = all_pages(lambda after: logs.page(filled, job_id=job_id, level=level, after=after, limit=9))  # noqa: B023
            wanted = [row.id for row in everything if row.level >= level and job_id in (None, row.job_id)]
            assert [row.id for row in rows] == sorted(wanted, reverse=True)
            assert all(row.task_id for row in rows)
        oldest = all_pages(lambda after: logs.page(filled, job_id=2, after=after, oldest=True, limit=9))
        assert [row.id for row in oldest] == sorted(row.id for row in everything if row.job_id == 2)
        assert logs.page(filled, level=60).rows == []

    def test_files_of_a_job_and_of_all(self, filled: Connection) -> None:
        made = filled.execute(select(tables.product_versions.c.id)).scalars().all()
        rows = all_pages(lambda after: file_list.page(filled, after=after, limit=9))
        assert [row.id for row in rows] == sorted(made, reverse=True)
        by_job = [all_pages(lambda after: file_list.page(filled, job_id=job, after=after, limit=9))  # noqa: B023
                  for job in (1, 2, 3)]  # fmt: skip
        assert sorted(row.id for part in by_job for row in part) == sorted(made)
        assert {row.job_id for row in by_job[1]} == {2}
        first = by_job[0][0]
        assert [row.id for row in file_list.of_product(filled, first.product_id)] == [first.id]
        assert file_list.version(filled, first.id).sha256 == "0" * 64
        with pytest.raises(UnknownFileError):
            file_list.version(filled, 10**9)

    def test_attempts_with_usage(self, filled: Connection) -> None:
        table = tables.attempts
        ended = filled.execute(select(table.c.id, table.c.job_id).where(table.c.ended_at.is_not(None))).all()
        rows = all_pages(lambda after: attempt_list.page(filled, after=after, limit=50))
        assert [row.id for row in rows] == sorted((row.id for row in ended), reverse=True)
        of_job = all_pages(lambda after: attempt_list.page(filled, job_id=2, after=after, limit=50))
        assert [row.id for row in of_job] == sorted((row.id for row in ended if row.job_id == 2), reverse=True)
        for job_id, attempts in ((None, rows), (2, of_job)):
            summary = {(row.task_type, row.state): row for row in attempt_list.summary(filled, job_id)}
            walls = [row.wall for row in attempts if (row.task_type, row.state) == (SEARCH, AttemptState.DONE)]
            found = summary[SEARCH, "done"]
            assert found.attempts == len(walls)
            assert found.wall_mean == pytest.approx(sum(walls) / len(walls))
        assert len(attempt_list.timeline(filled, 2, limit=10)) == 10
        assert attempt_list.summary(filled, 99) == []

    def test_outcomes_by_parameter(self, filled: Connection) -> None:
        loops = outcomes.types(filled, 1)
        assert loops == {SEARCH: ["size", "orbital_period", "noise", "realisation"]}
        one = outcomes.rates(filled, 1, SEARCH, ["size"])
        two = outcomes.rates(filled, 1, SEARCH, ["size", "noise"])
        done = [row for row in self.tasks(filled) if row.job_id == 1 and row.task_type == SEARCH]
        total = sum(row.state == TaskState.DONE for row in done)
        assert sum(rate.total for rate in one) == sum(rate.total for rate in two) == total
        assert [rate.row for rate in one] == sorted({json.loads(row.metadata)["size"] for row in done})
        assert all(rate.passed + rate.failed == rate.total for rate in two)
        failed = sum(rate.failed for rate in one)
        assert failed == sum(rate.failed for rate in two) > 0
        counted = {"PASS": total - failed, "FAIL": failed, "UNDEFINED": 0}
        assert outcomes.counts(filled, 1) == {SEARCH: counted}
        with pytest.raises(RequestError, match="quotes"):
            outcomes.rates(filled, 1, SEARCH, ['a"b'])


class TestSQLite(ListsContract):
    engine = "sqlite"


class TestMariaDB(ListsContract):
    engine = "mariadb"
