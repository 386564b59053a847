"""Warnings about missing services: one suite for sqlite and MariaDB."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from eas import registry
from eas.cli import cli
from eas.operations import pause
from eas.operations.init import initialise
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import service_warnings
from eas.taskdb.queries.service_warnings import MIN_WAIT
from eas.taskdb.service_lease import SCALER, SUPERVISOR, ServiceLease
from tests.contract.chains import new_worker, queue_tasks
from tests.contract.engines import EngineContract

TLS = "transit_search_tls"
LEASE = 300.0


class ServiceWarningsContract(EngineContract):
    @pytest.fixture
    def waiting(self, database: TaskDatabase) -> TaskDatabase:
        initialise(database, registry.load())
        queue_tasks(database, ["null", TLS, TLS])
        return database

    def unserved(self, database: TaskDatabase, later: float = MIN_WAIT + 10) -> list[str]:
        now = database.now() + later
        return [each.task_type for each in database.fetch(lambda c: service_warnings.unserved_queues(c, now, LEASE))]

    def test_queues_without_a_worker_are_named_after_a_while(self, waiting: TaskDatabase) -> None:
        assert self.unserved(waiting, 0.0) == []
        assert self.unserved(waiting) == ["null", TLS]
        new_worker(waiting, "base only")
        assert self.unserved(waiting) == [TLS]
        assert self.unserved(waiting, LEASE + MIN_WAIT) == ["null", TLS], "a silent worker serves no queue"

    def test_a_living_scaler_will_start_workers(self, waiting: TaskDatabase) -> None:
        scaler = ServiceLease(waiting, SCALER)
        scaler.hold()
        assert self.unserved(waiting) == []
        scaler.release()
        assert self.unserved(waiting) == ["null", TLS]

    def test_a_paused_queue_waits_for_its_operator(self, waiting: TaskDatabase) -> None:
        pause.pause(waiting, [TLS])
        assert self.unserved(waiting) == ["null"]

    def test_both_services_are_missed_in_words(self, waiting: TaskDatabase) -> None:
        now = waiting.now() + MIN_WAIT + 10
        undriven, unserved = waiting.fetch(lambda c: service_warnings.warnings(c, now, LEASE))
        assert "no supervisor is alive" in undriven
        assert f"no scaler that would start one: null, {TLS}. Start a worker (`eas worker --type eas-base`)" in unserved
        ServiceLease(waiting, SUPERVISOR).hold()
        ServiceLease(waiting, SCALER).hold()
        assert waiting.fetch(lambda c: service_warnings.warnings(c, waiting.now(), LEASE)) == []

    @pytest.mark.parametrize("command", [("report", "progress"), ("jobs",)])
    def test_commands_that_list_jobs_say_so(
        self, command: tuple[str, ...], waiting: TaskDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service_warnings, "MIN_WAIT", -10.0)
        monkeypatch.setenv("EAS_HOME", str(tmp_path))
        monkeypatch.setenv("EAS_DATABASE_URL", waiting.url)
        done = CliRunner().invoke(cli, [*command, "--json"])
        assert done.exit_code == 0, done.output
        assert "warning: tasks wait on the queue" in done.stderr
        assert json.loads(done.stdout)

    def test_the_lease_that_is_set_decides_everywhere_which_workers_are_alive(
        self, waiting: TaskDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service_warnings, "MIN_WAIT", -10.0)
        monkeypatch.setenv("EAS_HOME", str(tmp_path))
        monkeypatch.setenv("EAS_DATABASE_URL", waiting.url)
        new_worker(waiting, "silent", ["eas-worker-tls"])
        silent = update(tables.workers).values(heartbeat_at=waiting.now() - 60.0)
        waiting.transact(lambda connection: connection.execute(silent).rowcount)

        def said(*command: str) -> str:
            return CliRunner().invoke(cli, [*command, "--json"]).output

        task = waiting.fetch(lambda c: c.execute(select(tables.tasks.c.id).where(tables.tasks.c.task_type == TLS)))
        counted = [("report", "queue"), ("doctor",), ("show", str(task.scalars().first()))]
        for lease, alive in ("30", False), ("300", True):
            monkeypatch.setenv("EAS_LEASE", lease)
            for command in ("report", "progress"), ("jobs",), ("doctor",):
                assert ("no worker is alive that runs them" in said(*command)) is not alive, (command, lease)
            queue, doctor, show = (said(*command) for command in counted)
            assert [row["workers_alive"] for row in json.loads(queue) if row["task_type"] == TLS] == [int(alive)]
            assert ("1 alive" in doctor) is alive
            assert (f"no worker that runs {TLS} is alive" in show) is not alive


class TestSQLite(ServiceWarningsContract):
    engine = "sqlite"


class TestMariaDB(ServiceWarningsContract):
    engine = "mariadb"
