"""What operators type: schedule, cancel, reschedule, empty, pause; with real processes, without Prefect."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.acceptance.conftest import Home, loop
from tests.acceptance.test_commands import in_process
from tests.processes import MAX_TIMEOUT, TIMEOUT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

NULL = {"task": "null", "duration": 0}
LONG = {"task": "null", "duration": 3600}


@pytest.fixture
def quick(plain_home: Home) -> Home:
    """A home whose workers send heartbeats often."""
    plain_home.environment["EAS_LEASE"] = "5"
    return plain_home


def states(home: Home, table: str = "jobs") -> list[str]:
    return [row.state for row in home.rows(f"SELECT state FROM {table} ORDER BY id")]


def drivers(home: Home) -> list[str | None]:
    return [row.driver for row in home.rows("SELECT driver FROM jobs ORDER BY id")]


def test_three_jobs_are_scheduled_and_a_killed_scheduler_is_replaced(quick: Home) -> None:
    for name in ("one", "two", "three"):
        quick.eas("submit", quick.chain(loop(20, {"task": "null", "duration": 0.1}), name=name))
    first = quick.start("schedule", "--workers", "1")
    wait_for(lambda: states(quick, "attempts").count("done") >= 5, "some tasks")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert any(drivers(quick)), "nothing was left behind: the test shows nothing"
    done = quick.eas("schedule", "--until-idle", "1", "--workers", "2", "--most-jobs", "2")
    assert done.stdout == "3 jobs done, 0 failed, 0 cancelled\n"
    assert "(three): adopted" in done.stderr
    assert states(quick) == ["done"] * 3
    assert states(quick, "attempts").count("done") == 60
    wait_for(lambda: not quick.workers(), "the workers to leave")
    assert json.loads(quick.eas("workers", "--json").stdout) == []
    assert len(json.loads(quick.eas("workers", "--all", "--json").stdout)) == 3


def test_cancel_ends_what_runs_and_sigterm_leaves_the_rest_to_others(quick: Home) -> None:
    quick.eas("submit", quick.chain(loop(3, LONG), name="long"))
    other = quick.chain(NULL | {"duration": 3600}, name="other")
    scheduler = quick.start("schedule", "--workers", "1")
    wait_for(lambda: states(quick, "attempts").count("running") == 1, "a running task")
    (worker,) = wait_for(quick.workers, "the worker")
    # Its guard lives as long as the worker itself.
    children = [each for each in worker.children() if "guard_process.py" not in " ".join(each.cmdline())]
    assert children
    (shown,) = json.loads(quick.eas("workers", "--json").stdout)
    assert "null" in json.dumps(shown)
    assert "long" not in quick.eas("workers").stderr

    done = json.loads(quick.eas("cancel", "long", "--json").stdout)
    assert done == {"job_id": 1, "job_name": "long", "dropped": 2, "stopped": 1, "tasks": 3}
    wait_for(lambda: not any(child.is_running() for child in children), "the end of the task's process")
    assert worker.is_running()
    assert "is cancelled: 0 queued attempts dropped" in quick.eas("cancel", "1").stdout
    assert states(quick) == ["cancelled"]

    quick.eas("submit", other)
    wait_for(lambda: drivers(quick)[1:] != [None], "the second job")
    scheduler.send_signal(signal.SIGTERM)
    said, _ = scheduler.communicate(timeout=TIMEOUT)
    assert scheduler.returncode == 0, said
    assert "0 jobs done, 0 failed, 1 cancelled" in said
    assert drivers(quick) == [None, None]
    wait_for(lambda: not psutil.pid_exists(worker.pid), "the worker to leave")


def test_failures_are_rescheduled_and_queues_emptied_and_paused(
    quick: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(*arguments: str) -> str:
        capsys.readouterr()
        assert in_process(monkeypatch, quick.folder, *arguments, environment=quick.environment) == 0
        return capsys.readouterr().out

    light_curve = {"task": "ingest_external_lcs", "path": "curves"}
    quick.eas("submit", quick.chain(light_curve, name="curves"))
    assert quick.eas("schedule", "--until-idle", "0.5", "--workers", "1", code=1).stdout.startswith("0 jobs done, 1 f")
    done = json.loads(say("reschedule", "--job_name", "curves", "--json"))
    assert done == {
        "total": 1,
        "tasks": {"failed": 1},
        "jobs": [{"job_id": 1, "job_name": "curves", "tasks": {"failed": 1}}],
    }
    assert "nothing to reschedule" in say("reschedule")

    assert json.loads(say("queue", "pause", "null", "--json"))["paused"] == ["null"]
    assert say("submit", str(quick.chain(loop(4, NULL), name="nulls"))) == "2\n"
    say("cancel", "curves")
    quick.eas("schedule", "--time-limit", "4", "--workers", "1")
    assert states(quick, "attempts")[1:] == ["queued"] * 4
    assert re.search(r"null: 4.*, paused", say("queue", "show"))
    assert json.loads(say("queue", "empty", "--json")) == {"total": 4, "emptied": {"null": 4}}
    assert "resumed: null" in say("queue", "resume")
    quick.eas("schedule", "--until-idle", "0.5", "--workers", "1")
    assert states(quick, "attempts")[1:] == ["cancelled"] * 4
    assert "4 tasks of 1 job wait again: 4 withdrawn" in say("reschedule", "--job-id", "2")
    quick.eas("schedule", "--until-idle", "0.5", "--workers", "1")
    assert states(quick) == ["cancelled", "done"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cancel", "77"), "there is no job 77"),
        (("cancel", "absent"), "no job is called 'absent'"),
        (("reschedule", "--job-name", "absent"), "no job is called 'absent'"),
        (("queue", "pause", "nul"), "there is no queue of the task type 'nul'"),
        (("queue", "empty", "--job-name", "absent"), "no job is called 'absent'"),
    ],
)
def test_wrong_requests_change_nothing_and_exit_with_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert in_process(monkeypatch, tmp_path, *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_database_that_cannot_be_reached_exits_with_3(bare_home: Home) -> None:
    bare_home.environment["EAS_DATABASE_URL"] = "mysql+pymysql://eas:verysecret@127.0.0.1:1/eas"
    said = bare_home.eas("schedule", "--until-idle", "0", code=3).stderr
    assert "verysecret" not in said


def test_a_run_whose_workers_keep_dying_ends_and_can_be_resumed(home: Home) -> None:
    folder = home.folder / "deadly"
    folder.mkdir()
    program = "import os, sys\nif sys.orig_argv[1:5] == ['-P', '-m', 'eas', 'worker']:\n    os._exit(7)\n"
    (folder / "sitecustomize.py").write_text(program)
    chain = home.chain(NULL)
    home.environment["PYTHONPATH"] = str(folder)
    said = home.eas("run", chain, "--workers", "1", code=1).stderr
    assert "the local workers died 21 times" in said
    assert "eas run --resume 1" in said
    del home.environment["PYTHONPATH"]
    home.eas("run", "--resume", "1", "--workers", "1")
