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
from tests.acceptance.conftest import Home
from tests.processes import LIMIT, PATIENCE, ROOT, wait_for

pytestmark = pytest.mark.timeout(LIMIT)


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
    assert "->" in said, "there is no cure"
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [], "validation changed something"


def test_validate_refuses_in_a_process_of_its_own(bare_home: Home) -> None:
    done = bare_home.eas("validate", BROKEN.FOLDER / "json_trailing_comma.json", code=2)
    assert "line 4, column 3" in done.stderr
    assert done.stdout == ""


def test_validate_of_a_file_that_is_not_there(bare_home: Home) -> None:
    assert "there is no file nowhere.json" in bare_home.eas("validate", "nowhere.json", code=2).stderr


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


def test_plan_is_exact_where_nothing_depends_on_data(bare_home: Home) -> None:
    loop: dict[str, Any] = {"task": "null"}
    for parameter, count in (("e", 4), ("d", 4), ("c", 5), ("b", 5), ("a", 5)):
        loop = {
            "task": "execution_for_loop",
            "parameter": parameter,
            "linear_range": [0, 1, count],
            "task_list": [loop],
        }
    planned = json.loads(bare_home.eas("plan", bare_home.chain(loop), "--json").stdout)
    chains = 1 + 5 + 25 + 125 + 500 + 2000
    loops = 1 + 5 + 25 + 125 + 500
    assert planned["tasks"] == {
        "execution_chain": {"min": chains, "max": chains},
        "execution_for_loop": {"min": loops, "max": loops},
        "null": {"min": 2000, "max": 2000},
    }
    assert planned["total"] == {"min": chains + loops + 2000, "max": chains + loops + 2000}
    assert not (bare_home.folder / "eas-data").exists()


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
    # Claimed is not begun: a worker that is told to leave in between hands the attempt back.
    begun = "SELECT 1 FROM attempts WHERE state='running' AND claimed_at < {}"
    wait_for(lambda: plain_home.rows(begun.format(time.time() - 3)), "a running task")
    worker.terminate()
    output, _ = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0, output
    assert "left: 1 done" in output
    states = {row.number: row.state for row in plain_home.rows("SELECT id AS number, state FROM attempts")}
    assert sorted(states.values()) == ["done", "queued"]
    (row,) = plain_home.rows("SELECT state, reason FROM workers")
    assert tuple(row) == ("left", "it was told to by a signal")


def test_an_unknown_worker_type_is_refused(plain_home: Home) -> None:
    assert "unknown worker type eas-nonsense" in plain_home.eas("worker", "--type", "eas-nonsense", code=2).stderr
