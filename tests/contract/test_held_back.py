"""Tasks that no worker may claim yet, in the reports of operators: one suite for sqlite and MariaDB."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from eas.cli import cli
from eas.operations.cancel import cancel
from eas.operations.empty_queue import empty_queue
from eas.operations.reschedule import reschedule
from eas.queues.sql import SQLQueue
from eas.states import AttemptState
from eas.taskdb import results
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import live
from eas.taskdb.queries.reports import Filters
from tests.contract.chains import claim_these, new_worker, queue_tasks, result
from tests.contract.engines import EngineContract


class HeldBackContract(EngineContract):
    @pytest.fixture
    def queue(self, database: TaskDatabase) -> SQLQueue:
        """Return a queue of which a task of job 3 waits for its next try, and those of job 2 were taken off."""
        queue = SQLQueue(AttemptClaims(database))
        queue_tasks(database, ["null", "verify"])
        queue_tasks(database, ["error", "error"], retries=1, backoff=500.0)
        assert empty_queue(database, queue) == {"error": 2, "null": 1, "verify": 1}
        assert reschedule(database, queue, job_id=1).states == {"withdrawn": 2}
        failing = queue_tasks(database, ["null", "null"], retries=1, backoff=500.0)[0].attempt_id
        claim_these(queue.store.database, new_worker(database, "w"), [failing])
        bad = result(failing, AttemptState.FAILED)
        database.transact(lambda c: results.finish(c, "w", [bad], time.time()))
        return queue

    def seen(self, database: TaskDatabase, filters: Filters, now: float) -> dict[str, tuple[int, int, int]]:
        rows = database.fetch(lambda c: live.queues(c, filters, now))
        counts = {row.task_type: (int(row.queued), int(row.due), int(row.held_back)) for row in rows}
        return {name: each for name, each in counts.items() if any(each)}

    def test_delayed_tries_and_tasks_taken_off_are_counted(self, database: TaskDatabase, queue: SQLQueue) -> None:
        now = time.time()
        assert self.seen(database, Filters(), now) == {"null": (2, 1, 1), "error": (0, 0, 2)}
        assert self.seen(database, Filters(job_id=2), now) == {"error": (0, 0, 2)}
        assert self.seen(database, Filters(task_type="null"), now) == {"null": (2, 1, 1)}
        assert self.seen(database, Filters(job_id=1), now) == {}
        assert self.seen(database, Filters(), now + 600.0) == {"null": (2, 2, 0), "error": (0, 0, 2)}
        cancel(database, queue, 2)
        assert self.seen(database, Filters(), now) == {"null": (2, 1, 1)}

    def test_the_commands_tell(
        self, database: TaskDatabase, queue: SQLQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EAS_HOME", str(tmp_path))
        monkeypatch.setenv("EAS_DATABASE_URL", database.url)
        monkeypatch.delenv("EAS_QUEUE_URL", raising=False)

        def said(*arguments: str) -> str:
            done = CliRunner().invoke(cli, arguments)
            assert done.exit_code == 0, done.output
            return done.stdout

        assert said("queue", "show").splitlines() == [
            "job queue sql: 2 attempts queued",
            "  error: 0, 2 held back",
            "  null: 2, 1 held back",
        ]
        shown = json.loads(said("queue", "show", "--json"))
        assert (shown["queued"], shown["held_back"]) == ({"null": 2}, {"error": 2, "null": 1})
        lines = [line.split() for line in said("report", "queue").splitlines()]
        column = lines[0].index("held_back")
        assert {line[0]: line[column] for line in lines[1:] if line[0] in ("error", "null")} == {
            "error": "2",
            "null": "1",
        }


class TestSQLite(HeldBackContract):
    engine = "sqlite"


class TestMariaDB(HeldBackContract):
    engine = "mariadb"
