"""All times that processes compare come from the task database's clock, and leases are kept by it."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Double, select

from eas.cli import main
from eas.orchestration.reservation import Reservation
from eas.taskdb import jobs, tables
from eas.taskdb.engine import TaskDatabase
from reports.job_reports import write_job_reports
from tests.integration.harness import System
from tests.processes import ROOT

AHEAD = 3600.0
NO_TIME = {"cpu", "gpu", "memory", "backoff", "wall", "cpu_children", "peak_memory", "process_started", "available_at"}
NO_TIME |= {"assigned_cpu", "assigned_memory"}


def test_every_time_in_sql_is_of_the_databases_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskDatabase, "now", lambda self: time.time() + AHEAD)
    monkeypatch.setattr(TaskDatabase, "clock_offset", lambda self: AHEAD)
    began = time.time()
    with System(tmp_path).app as app:
        system = System(tmp_path)
        system.app = app
        system.run([{"task": "null", "duration": 0}, {"task": "error"}], retries=1, backoff=0.0)
        found = 0
        for table in tables.metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, Double) and column.name not in NO_TIME:
                    for (value,) in system.rows(select(column).where(column.is_not(None))):
                        found += 1
                        assert began + AHEAD - 1 <= value <= time.time() + AHEAD + 1, f"{table.name}.{column.name}"
    assert found > 20


def test_reports_measure_ages_by_the_databases_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TaskDatabase, "now", lambda self: time.time() + AHEAD)
    monkeypatch.setattr(TaskDatabase, "clock_offset", lambda self: AHEAD)
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    system = System(tmp_path)
    job = system.submit([{"task": "null", "duration": 0}])
    system.drive(job, steps=2)

    def rows(*command: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main([*command, "--json"])
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    (row,) = [each for each in rows("report", "queue") if each["queued"]]
    assert 0 <= row["oldest_age"] < AHEAD / 2
    minute_ago = datetime.fromtimestamp(time.time() + AHEAD - 60, UTC)
    assert rows("report", "progress", "--since", f"{minute_ago:%Y-%m-%dT%H:%M}")
    with system.worker():
        deadline = time.monotonic() + 30
        while not (workers := rows("workers")) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert len(workers) == 1 and 0 <= workers[0]["heartbeat_age"] < AHEAD / 2
        system.drive(job)
    files = write_job_reports(system.app.database, job, tmp_path / "reports")
    assert files


WALL_CLOCK = re.compile(r"\btime\.time\(|\bdatetime\.(now|today|utcnow)\(|\bst_[mc]time\b")


def test_nothing_that_compares_times_of_others_reads_the_clock_of_this_machine() -> None:
    folders = ("eas/cli", "flows", "reports", "infra")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 80
    found = {str(path.relative_to(ROOT)) for path in paths if WALL_CLOCK.search(path.read_text(encoding="utf-8"))}
    assert found == {
        # How long the local Prefect server is up: this machine's clock wrote the time, too.
        "eas/cli/server.py",
        "flows/local_server_process.py",
        # The time of an API server that has not answered yet, compared with nothing.
        "infra/deploy/client.py",
        # A file's time that `os.utime` set to the monotonic clock.
        "infra/deploy/alive.py",
    }


def test_a_reservation_is_renewed_until_the_orchestrator_takes_over(tmp_path: Path) -> None:
    system = System(tmp_path)
    database = system.app.database
    job = system.submit([{"task": "null", "duration": 0}], to_drive=True)

    def seen() -> tuple[str | None, float]:
        row = database.fetch(lambda c: jobs.get(c, job))
        return row.driver, row.driver_seen_at or 0.0

    reserved, first = seen()
    with Reservation(database, job, lease=0.4) as reservation:
        deadline = time.monotonic() + 30
        while seen()[1] <= first and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert seen()[1] > first
        orchestrator = system.app.orchestrator(job)
        orchestrator.open()
        reservation._thread.join(30)
        assert not reservation._thread.is_alive(), "it ends when the orchestrator holds the lease"
    assert seen()[0] == orchestrator.driver != reserved
    orchestrator.close()


def test_a_reservation_that_ends_unused_is_released(tmp_path: Path) -> None:
    system = System(tmp_path)
    job = system.submit([{"task": "null", "duration": 0}], to_drive=True)
    with Reservation(system.app.database, job):
        pass
    assert system.app.database.fetch(lambda c: jobs.get(c, job)).driver is None
