"""A worker and short tasks: they are claimed, and their results committed, while others run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from eas.app import App
from eas.errors import ServiceError
from eas.model import ClaimedAttempt
from eas.settings import Settings
from eas.states import AttemptState, TaskState
from eas.taskdb import results, tables
from eas.taskdb.engine import TaskDatabase
from eas.worker import worker as worker_module
from eas.worker.worker import Worker, WorkerOptions
from tests.contract.chains import queue_tasks, states
from tests.contract.engines import EngineContract

TIMEOUT = 60.0


class ShortTasksContract(EngineContract):
    @pytest.fixture
    def app(self, database: TaskDatabase, tmp_path: Path) -> Iterator[App]:
        settings = Settings(home=tmp_path, database_url=database.engine.url.render_as_string(hide_password=False))
        with App(settings) as app:
            yield app

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @contextmanager
    def running(self, worker: Worker) -> Iterator[None]:
        """Have a worker run in a thread; its running task is broken off at the end."""
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield
        finally:
            worker.executor.drain()
            worker.executor.interrupt("the test is over")
            worker.stop()
            thread.join(TIMEOUT)
            assert not thread.is_alive()

    # -- the suite -----------------------------------------------------------------------------

    def test_more_short_tasks_are_claimed_while_others_run(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = [each.attempt_id for each in queue_tasks(app.database, ["null"] * 600)]
        worker = app.worker(WorkerOptions(("eas-base",), idle_exit=0.2))
        sent_ahead: list[int] = []
        claim = worker._claim

        def noting(task_types: Sequence[str], limit: int, timeout: float) -> list[ClaimedAttempt]:
            sent_ahead.append(len(worker.executor._pending))
            return claim(task_types, limit, timeout)

        monkeypatch.setattr(worker, "_claim", noting)
        assert worker.run().done == 600
        assert states(app.database) == dict.fromkeys(ids, AttemptState.DONE)
        # The child always had something to do while others were claimed, but for the first and the last time.
        assert sum(number > 0 for number in sent_ahead) >= 3

    def test_a_result_is_seen_while_the_task_after_it_takes_long(self, app: App) -> None:
        *short, long = queue_tasks(app.database, ["null"] * 30)
        table = tables.tasks
        with app.database.write() as connection:
            newest = connection.execute(select(func.max(table.c.id))).scalar_one()
            slow = update(table).where(table.c.id == newest)
            connection.execute(slow.values(settings=json.dumps({"duration": 2 * TIMEOUT})))
        expected = {each.attempt_id: AttemptState.DONE for each in short} | {long.attempt_id: AttemptState.RUNNING}
        with self.running(app.worker(WorkerOptions(("eas-base",)))):
            self.wait_for(lambda: states(app.database) == expected)
        assert states(app.database)[long.attempt_id] == AttemptState.QUEUED

    def test_a_stream_of_short_tasks_makes_way_for_a_more_urgent_type(
        self, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_module, "PRIORITY_CHECK_INTERVAL", 0.0)
        queue_tasks(app.database, ["null"] * 1500)
        worker = app.worker(WorkerOptions(("eas-base",), idle_exit=0.2))
        urgent: list[int] = []
        more = worker._claim_more

        def queueing(batch: worker_module._Batch) -> list[ClaimedAttempt]:
            if not urgent:
                urgent.extend(each.attempt_id for each in queue_tasks(app.database, ["error"], priorities=[-5]))
            return more(batch)

        monkeypatch.setattr(worker, "_claim_more", queueing)
        worker.run()
        claimed = select(tables.attempts.c.id, tables.attempts.c.claimed_at).order_by(tables.attempts.c.claimed_at)
        with app.database.read() as connection:
            order = [row.id for row in connection.execute(claimed)]
        assert order.index(urgent[0]) < 700

    def test_a_failure_to_commit_results_ends_the_worker_and_loses_no_task(
        self, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue_tasks(app.database, ["null"] * 20)
        worker = app.worker(WorkerOptions(("eas-base",), idle_exit=0.2))

        def fail(*_: object) -> results.ClosedAttempts:
            raise ServiceError("the task database is away")

        with monkeypatch.context() as patched:
            patched.setattr(results, "finish", fail)
            with pytest.raises(ServiceError, match="is away"):
                worker.run()
        assert set(states(app.database).values()) == {AttemptState.QUEUED}
        assert app.worker(WorkerOptions(("eas-base",), idle_exit=0.2)).run().done == 20
        with app.database.read() as connection:
            assert set(connection.execute(select(tables.tasks.c.state)).scalars()) == {TaskState.DONE}


class TestSQLite(ShortTasksContract):
    engine = "sqlite"


class TestMariaDB(ShortTasksContract):
    engine = "mariadb"
