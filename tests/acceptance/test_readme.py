"""The README stays true: each command in it is run here, or by the continuous integration itself."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import Home
from tests.acceptance.prefect_installation import section
from tests.processes import MAX_TIMEOUT, ROOT, clean_environment, wait_for

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
RUN_BY_CI = {"test", "test-slow", "test-fresh", "check", "services", "services-stop"}
"""`.ci/run` calls these, and this very test is a part of the first."""
SERVED = {"docs-serve"}
"""Run by ``test_site``."""
TOO_LONG = {"bench", "chaos"}
"""Their parts are tested by themselves; here only that the target is there."""
EXIT_CODES = {"fails_on_purpose.json": 1}

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for block in BLOCK.findall(text) for line in block.splitlines()]
    return [line for line in lines if line]


def of_make(command: str) -> str:
    return command.split()[1]


MAKE = [command for command in commands() if command.startswith("make ")]
EAS = [command for command in commands() if command.startswith(".venv/bin/eas ")]
PREFECT = [command for command in commands() if command.startswith(".venv/bin/prefect ")]
"""Run in ``test_prefect``, in the order in which they stand there."""


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    assert [command for command in commands() if command not in MAKE + EAS + PREFECT] == []
    assert set(PREFECT) <= set(section("With a Prefect server")), "a command that no test runs"
    assert {of_make(command) for command in MAKE} <= RUN_BY_CI | SERVED | TOO_LONG | {"demo"}
    called = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f"make {name}" in called for name in RUN_BY_CI)


@pytest.mark.parametrize("command", MAKE)
def test_make_targets_are_there(command: str) -> None:
    done = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_make_demo(tmp_path: Path) -> None:
    """From nothing: no Prefect server, no database, no folder."""
    environment = clean_environment() | {"EAS_HOME": str(tmp_path / "eas-data")}
    done = subprocess.run(["make", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "transit_search_bls_reference" in done.stdout
    (progress,) = [Path(line) for line in done.stdout.splitlines() if line.endswith("progress.csv")]
    rows = {row["task_type"]: row for row in read_csv(progress)}
    assert rows["transit_search_bls_reference"]["done"] == "14"
    (picture,) = [Path(line) for line in done.stdout.splitlines() if line.endswith(".png") and "outcome" in line]
    assert picture.read_bytes().startswith(b"\x89PNG")
    outcomes = {row["outcome"] for row in read_csv(progress.parent / "pass_fail.csv")}
    assert {"PASS", "FAIL"} <= outcomes
    wait_for(lambda: not Home(tmp_path, environment).workers(), "the workers to leave")


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("command", EAS)
def test_eas_commands(command: str, home: Home) -> None:
    arguments = shlex.split(command)[1:]
    arguments = [str(ROOT / word) if word.startswith("demo_jobs/") else word for word in arguments]
    code = next((code for name, code in EXIT_CODES.items() if name in command), 0)
    home.eas(*arguments, code=code)
