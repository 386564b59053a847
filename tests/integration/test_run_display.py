"""What ``eas run`` says before anything runs, and how it estimates the time left."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from eas.app import App
from eas.cli import cli, display, run
from eas.cli.display import JobDisplay, summary_table
from eas.cli.terminal import Terminal
from eas.errors import EASError, ServiceError
from eas.orchestration.job_summary import JobSummary
from flows.local_server import LocalServer
from tests.integration.harness import System


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "error",
    [ServiceError("the server did not come up"), ServiceError("away", hint="start it"), RuntimeError("a fault")],
)
def test_every_failure_that_leaves_a_job_names_how_to_resume_it(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(app: App, *_: object, **__: object) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setattr("eas.cli.run._run_with_display", fails)
    monkeypatch.setattr(LocalServer, "start", lambda _: True)
    chain = {"job_name": "first", "working_directory": "first", "task_list": [{"task": "null", "durations": 0}]}
    Path("chain.json").write_text(json.dumps(chain))
    done = CliRunner().invoke(cli, ["run", "chain.json"])
    assert "chain.json: task_list[0].durations: unknown setting: it is ignored" in caplog.text
    assert done.exception is error
    said = str(error) if isinstance(error, EASError) else done.stderr
    assert said.count("eas run --resume 1") == 1


def test_the_outcomes_of_searches_have_columns() -> None:
    counts = {"transit_search_tls": {"done": 7}, "verify": {"done": 2, "failed": 1}}
    summary = JobSummary(1, "sweep", "failed", counts, [], 1.0)
    console = Terminal(file=io.StringIO(), width=100)
    console.print(summary_table(summary, {"transit_search_tls": {"PASS": 4, "FAIL": 0, "UNDEFINED": 3}}))
    lines = console.file.getvalue().splitlines()
    rows = [re.split(r"[\W]*[│┃][\W]*", line.strip("│┃ ")) for line in lines if "│" in line or "┃" in line]
    assert rows[0] == ["task type", "done", "failed", "total", "PASS", "FAIL", "UNDEFINED"]
    assert rows[1] == ["transit_search_tls", "7", "7", "4", "0", "3"]
    assert "PASS" not in "".join(map(str, summary_table(summary, {}).columns))


def test_what_to_do_about_a_wrong_chain_comes_before_what_to_do_about_a_passing_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a chain.json").write_text("{}")
    failed = JobSummary(7, "sweep", "failed", {"verify": {"failed": 1}}, [], 1.0, source="a chain.json")
    assert list(run._hints(failed)) == [
        "to correct the chain: edit it; eas run 'a chain.json' --if-exists reuse (keeps what was made the same way)",
        "to run the same tasks again: eas reschedule --job-id 7; eas run --resume 7",
    ]
    assert "eas run FILE --if-exists reuse" in next(run._hints(replace(failed, source="job.json")))
    cancelled = list(run._hints(replace(failed, state="cancelled")))
    assert cancelled == ["to run the same tasks again: eas reschedule --job-id 7; eas run --resume 7"]


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_of_a_run_fits_the_terminal(width: int) -> None:
    states = {"done": 100, "failed": 3, "running": 12, "blocked": 4, "queued": 10, "waiting": 4000, "cancelled": 1}
    summary = JobSummary(1, "sweep", "running", {"transit_search_bls_reference": states}, [], 1.0)
    console = Terminal(file=io.StringIO(), width=width)
    outcomes = {"transit_search_bls_reference": {"PASS": 40, "FAIL": 60, "UNDEFINED": 0}}
    console.print(summary_table(summary, outcomes, width))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert all(each in text for each in ("task type", "done", "failed", "PASS", "FAIL", "100", "40", "60"))
    assert "…" not in text


@pytest.mark.filterwarnings("ignore")
def test_a_job_ends_without_a_prefect_server_that_does_not_come_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_up(server: LocalServer) -> None:
        raise ServiceError("the server did not come up")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setattr(LocalServer, "start", lambda _: True)
    monkeypatch.setattr(LocalServer, "ready", never_up)
    chain = {"job_name": "first", "working_directory": "first", "task_list": [{"task": "null", "duration": 0}]}
    Path("chain.json").write_text(json.dumps(chain))
    done = CliRunner().invoke(cli, ["run", "chain.json", "--workers", "1"])
    assert done.exit_code == 0, done.output
    first, second, third, *others = done.stdout.splitlines()
    assert first.startswith("job 1 (first), seed ")
    assert second.startswith("starting a local Prefect server")
    assert third == "the job runs without Prefect: the server did not come up"
    assert str(tmp_path / "home" / "reports" / "job_1" / "progress.csv") in others


def test_the_rate_counts_from_the_first_task_not_from_the_start_of_the_server(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: clock[0])
    shown = JobDisplay(system.app.database, 1, Terminal())
    clock[0] += 20.0
    assert shown._progress_text({"waiting": 10}) == "0 of 10 ended, 20 s so far"
    clock[0] += 5.0
    assert shown._progress_text({"waiting": 9, "running": 1}) == "0 of 10 ended, 25 s so far"
    assert shown._progress_text({"done": 2, "waiting": 8}) == "2 of 10 ended, 0.4 tasks/s, about 20 s left"


def test_the_log_of_a_supervisor_on_a_new_database_is_its_own(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "PREFECT_"))}
    done = subprocess.run(
        [sys.executable, "-m", "eas", "schedule", "--until-idle", "0"],
        env=environment | {"EAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert {line.split()[2] for line in done.stderr.splitlines()} == {"eas.supervisor"}
