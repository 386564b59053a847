"""``eas validate``, ``plan``, ``submit``, ``db init``, ``worker`` and how the command fails."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eas.cli import main
from tests.acceptance.conftest import Home, loop
from tests.processes import MAX_TIMEOUT, ROOT, TIMEOUT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)


def _broken() -> ModuleType:
    """Load the table of broken chains that the grammar's own tests use."""
    path = ROOT / "tests" / "unit" / "broken_chains" / "cases.py"
    specification = importlib.util.spec_from_file_location("broken_cases", path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


BROKEN = _broken()
EVERY_CASE = [*BROKEN.CASES, *BROKEN.MISSING_PRODUCERS]


def in_process(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> int:
    """Run the command in this process: starting Python 70 times would take a minute."""
    monkeypatch.chdir(folder)
    for name in ("EAS_HOME", "EAS_DATABASE_URL", "EAS_DATA_DIR", "EAS_QUEUE_URL"):
        monkeypatch.delenv(name, raising=False)
        if environment and name in environment:
            monkeypatch.setenv(name, environment[name])
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize(("name", "where", "fragment"), EVERY_CASE, ids=[case[0] for case in EVERY_CASE])
def test_validate_refuses_broken_chains(
    name: str, where: str, fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert in_process(monkeypatch, tmp_path, "validate", str(BROKEN.FOLDER / name)) == 2
    said = capsys.readouterr().err
    assert name in said
    assert f"{where}: " in said
    assert fragment in said
    assert "->" in said, "there is no hint"
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [], "validation changed something"


ODD = "task_list[0].specs.planet_raduis: unknown setting"


@pytest.mark.parametrize("command", ["validate", "plan", "submit"])
def test_a_setting_that_nothing_reads(plain_home: Home, command: str) -> None:
    task = {"task": "synthesis_batman", "specs": {"planet_raduis": 0.5}, "outputs": {"lightcurve": "a.gz"}}
    chain = plain_home.chain(task)
    refused = plain_home.eas(command, chain, "--strict", code=2)
    assert "1 problem in this task chain" in refused.stderr and ODD in refused.stderr
    accepted = plain_home.eas(command, chain)
    assert f"{ODD}: it is ignored" in accepted.stderr and "did you mean 'planet_radius'?" in accepted.stderr


def test_run_refuses_a_setting_that_nothing_reads_where_it_is_strict(bare_home: Home) -> None:
    task = {"task": "synthesis_batman", "specs": {"planet_raduis": 0.5}, "outputs": {"lightcurve": "a.gz"}}
    refused = bare_home.eas("run", bare_home.chain(task), "--strict", code=2)
    assert "1 problem in this task chain" in refused.stderr and ODD in refused.stderr
    assert bare_home.rows("SELECT id FROM jobs") == []


@pytest.mark.parametrize("name, start", [("a.svg", "<svg "), ("a.html", "<!DOCTYPE html>"), ("a.mmd", "flowchart LR")])
def test_plan_draws(plain_home: Home, name: str, start: str) -> None:
    chain = plain_home.chain({"task": "null", "name": "pause"})
    target = plain_home.folder / name
    assert str(target) in plain_home.eas("plan", chain, "--graph", target).stdout
    assert target.read_text(encoding="utf-8").startswith(start)
    assert "pause" in target.read_text(encoding="utf-8")


def test_plan_draws_to_the_output(plain_home: Home) -> None:
    chain = plain_home.chain({"task": "null"})
    assert plain_home.eas("plan", chain, "--graph", "mermaid").stdout.startswith("flowchart LR")
    assert "give a file .svg" in plain_home.eas("plan", chain, "--graph", "a.png", code=2).stderr
    assert "cannot be written" in plain_home.eas("plan", chain, "--graph", "nowhere/a.svg", code=2).stderr


def test_run_refuses_a_strict_chain_before_anything_runs(plain_home: Home) -> None:
    chain = plain_home.chain({"task": "null", "duraton": 0})
    assert "task_list[0].duraton: unknown setting" in plain_home.eas("run", chain, "--strict", code=2).stderr
    assert plain_home.rows("SELECT id FROM jobs") == []


def test_validate_refuses_in_a_process_of_its_own(bare_home: Home) -> None:
    done = bare_home.eas("validate", BROKEN.FOLDER / "json_trailing_comma.json", code=2)
    assert "line 3, column 21" in done.stderr
    assert done.stdout == ""


def test_validate_of_a_file_that_is_not_there(bare_home: Home) -> None:
    assert "there is no file nowhere.json" in bare_home.eas("validate", "nowhere.json", code=2).stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(("runn",), "run"), (("reshedule", "--job-id", "1"), "reschedule"), (("db", "ini"), "init"),
     (("run", "--rezume", "1"), "--resume"), (("queue", "shwo"), "show"), (("worker_s",), "workers")],
)  # fmt: skip
def test_a_mistyped_command_or_option_is_answered_with_the_nearest(
    typed: tuple[str, ...], meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert in_process(monkeypatch, tmp_path, *typed) == 2
    assert f"Did you mean '{meant}'" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "place", "found"), [("eas do", 1, "doctor"), ("eas run --res", 2, "--resume")])
def test_a_shell_completes_commands_and_options(bare_home: Home, typed: str, place: int, found: str) -> None:
    words = {"_EAS_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(place)}
    code = "import sys; from eas.cli import main; sys.argv = ['eas']; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=bare_home.environment | words, capture_output=True, text=True,
        timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stdout == f"plain,{found}\n"


def test_an_unknown_option_exits_with_2(bare_home: Home) -> None:
    assert "No such option" in bare_home.eas("run", "--nonsense", code=2).stderr


def test_underscores_in_options_are_taken_for_hyphens(plain_home: Home) -> None:
    chain = plain_home.chain({"task": "null"})
    assert plain_home.eas("submit", chain, "--if_exists", "reuse", "--job_name", "other").stdout.strip() == "1"
    assert [row.name for row in plain_home.rows("SELECT name FROM jobs")] == ["other"]


def test_the_prototypes_spellings_are_taken(bare_home: Home) -> None:
    chain = bare_home.chain({"task": "null"})
    assert bare_home.eas("submit", "--tasks", chain).stdout.strip() == "1"
    assert "give one FILE" in bare_home.eas("submit", code=2).stderr
    assert "give one FILE" in bare_home.eas("submit", chain, "--tasks", chain, code=2).stderr
    said = bare_home.eas("db", "init", "--db_port", "1", "--db_host", "127.0.0.1", code=3).stderr
    assert "mysql+pymysql://127.0.0.1:1/eas" in said
    said = bare_home.eas("queue", "init", "--mq_port", "1", "--mq_host", "127.0.0.1", code=3).stderr
    assert "127.0.0.1:1" in said
    assert not (bare_home.folder / "eas-data" / "settings.json").exists()


def test_plan_estimates_from_what_has_run(bare_home: Home) -> None:
    null = {"task": "null", "duration": 0.2}
    chain = bare_home.chain(loop(3, null), name="waits")
    nothing = bare_home.eas("plan", chain, "--estimate", code=2).stderr
    assert "nothing to estimate from" in nothing and "-> run the chain with a few loop values first" in nothing
    script = f"import eas; assert eas.submit({str(chain)!r}).run(workers=1).succeeded"
    subprocess.run([sys.executable, "-P", "-c", script], env=bare_home.environment, cwd=bare_home.folder,
                   check=True, timeout=TIMEOUT)  # fmt: skip
    larger = bare_home.chain(loop(1000, null), name="waits")
    data = json.loads(bare_home.eas("plan", larger, "--estimate", "--workers", "4", "--json").stdout)
    assert (data["workers"], data["attempts"]) == (4, 3)
    assert data["wall"]["median"] == pytest.approx(250 * data["task_types"][0]["wall"]["median"], rel=0.01)
    lines = bare_home.eas("plan", larger, "--estimate", "--workers", "1").stdout.splitlines()
    assert lines[0].startswith("wall time on 1 worker: 3 min") and lines[0].endswith("from 3 recorded attempts")
    assert lines[1].split() == ["worker", "type", "tasks", "CPU", "time", "range", "memory", "disk", "attempts"]
    assert lines[2].split()[:2] == ["eas-base", "1000"]
    assert all(line.isascii() for line in lines)
    assert "--workers requires --estimate" in bare_home.eas("plan", larger, "--workers", "4", code=2).stderr
    both = bare_home.eas("plan", larger, "--estimate", "--graph", "mermaid", code=2)
    assert "--graph and --estimate exclude each other" in both.stderr


def test_plan_is_exact_where_nothing_depends_on_data(bare_home: Home) -> None:
    body: dict[str, Any] = {"task": "null"}
    for parameter, count in (("e", 4), ("d", 4), ("c", 5), ("b", 5), ("a", 5)):
        body = {
            "task": "execution_for_loop",
            "parameter": parameter,
            "linear_range": [0, 1, count],
            "task_list": [body],
        }
    planned = json.loads(bare_home.eas("plan", bare_home.chain(body), "--json").stdout)
    chains = 1 + 5 + 25 + 125 + 500 + 2000
    loops = 1 + 5 + 25 + 125 + 500
    assert planned["tasks"] == {
        "execution_chain": {"min": chains, "max": chains},
        "execution_for_loop": {"min": loops, "max": loops},
        "null": {"min": 2000, "max": 2000},
    }
    assert planned["total"] == {"min": chains + loops + 2000, "max": chains + loops + 2000}
    assert not (bare_home.folder / "eas-data").exists()


def test_plan_is_plain_text(bare_home: Home) -> None:
    shown = bare_home.eas("plan", bare_home.chain(loop(12, {"task": "null"}))).stdout.splitlines()
    assert shown[:5] == [
        "task type           at least  at most",
        "execution_chain           13       13",
        "execution_for_loop         1        1",
        "null                      12       12",
        "total                     26       26",
    ]
    assert "worker types: eas-base" in shown


def test_plan_gives_bounds_where_something_does(bare_home: Home) -> None:
    planned = json.loads(bare_home.eas("plan", ROOT / "demo_jobs/feature_tests/while_loop.json", "--json").stdout)
    assert planned["tasks"]["transit_search_bls_reference"] == {"min": 1, "max": None}


def test_db_init_twice_changes_nothing_and_saves_the_settings(bare_home: Home) -> None:
    assert "created" in bare_home.eas("db", "init", "--url", f"sqlite:///{bare_home.folder}/mine.sqlite").stdout
    assert "unchanged" in bare_home.eas("db", "init").stdout
    settings = bare_home.folder / "eas-data" / "settings.json"
    assert settings.stat().st_mode & 0o777 == 0o600
    chain = bare_home.chain({"task": "null"})
    bare_home.eas("submit", chain)
    assert (bare_home.folder / "mine.sqlite").exists()
    assert not (bare_home.folder / "eas-data" / "eas.sqlite").exists()


def test_a_database_that_cannot_be_reached_exits_with_3_and_hides_the_password(bare_home: Home) -> None:
    bare_home.environment["EAS_DATABASE_URL"] = "mysql+pymysql://eas:verysecret@127.0.0.1:1/eas"
    chain = bare_home.chain({"task": "null"})
    done = bare_home.eas("submit", chain, code=3)
    assert "eas:***@127.0.0.1" in done.stderr
    assert "verysecret" not in done.stderr + done.stdout


def test_a_worker_finishes_its_task_on_sigterm_and_leaves(plain_home: Home) -> None:
    chain = plain_home.chain({"task": "null", "duration": 6}, {"task": "null", "duration": 0})
    plain_home.eas("submit", chain)
    code = (
        "from eas.app import App\n"
        "with App.load() as app:\n"
        "    orchestrator = app.orchestrator(1); orchestrator.open(); orchestrator.step(); orchestrator.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=plain_home.folder, env=plain_home.environment, check=True)
    worker = plain_home.start("worker", "--type", "eas-base")
    # Claimed is not started: a worker that receives SIGTERM in between returns the attempt.
    begun = "SELECT 1 FROM attempts WHERE state='running' AND claimed_at < {}"
    wait_for(lambda: plain_home.rows(begun.format(time.time() - 3)), "a running task")
    worker.terminate()
    output, _ = worker.communicate(timeout=TIMEOUT)
    assert worker.returncode == 0, output
    assert "exited: 1 done" in output
    states = {row.number: row.state for row in plain_home.rows("SELECT id AS number, state FROM attempts")}
    assert sorted(states.values()) == ["done", "queued"]
    (row,) = plain_home.rows("SELECT state, reason FROM workers")
    assert tuple(row) == ("left", "received a signal")


def test_an_unknown_worker_type_is_refused(plain_home: Home) -> None:
    assert "unknown worker type eas-nonsense" in plain_home.eas("worker", "--type", "eas-nonsense", code=2).stderr
