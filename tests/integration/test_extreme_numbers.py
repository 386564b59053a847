"""Numbers that no column holds, and that no comparison orders: clear errors, exit code 2, nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eas.cli import main
from eas.errors import RequestError
from eas.operations.job_options import SubmitOptions

Run = Callable[..., tuple[int, str]]
HUGE = "9" * 25
CHAIN = '{"job_name": "one", "task_list": [{"task": "null", "duration": 0}]}'


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("EAS_HOME", str(tmp_path))

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        assert isinstance(left.value.code, int)
        return left.value.code, capfd.readouterr().err

    return run


@pytest.mark.parametrize(
    "command",
    [
        ("cancel", HUGE),
        ("reschedule", "--job-id", HUGE),
        ("run", "--resume", HUGE),
        ("show", HUGE),
        ("logs", HUGE),
        ("logs", "--job", HUGE),
        ("report", "progress", "--job", HUGE),
    ],
    ids=" ".join,
)
def test_an_id_that_no_column_holds_is_unknown(command: tuple[str, ...], run: Run) -> None:
    assert run("db", "init")[0] == 0
    code, said = run(*command)
    assert code == 2, said
    assert "Traceback" not in said
    assert "->" in said


@pytest.mark.parametrize(
    "option", [("--backoff", "nan"), ("--backoff", "inf"), ("--retries", HUGE), ("--priority", HUGE)], ids=" ".join
)
def test_options_of_a_job_are_numbers_within_bounds(option: tuple[str, str], run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chain.json"
    file.write_text(CHAIN)
    code, said = run("submit", str(file), *option)
    assert code == 2, said
    assert "Invalid value" in said


@pytest.mark.parametrize(
    "given",
    [
        {"backoff": math.nan},
        {"backoff": -1.0},
        {"retries": -1},
        {"retries": 10**30},
        {"max_stalls": 10**30},
        {"priority": 1001},
        {"if_exists": "overwrite"},
    ],
    ids=str,
)
def test_options_from_python_have_the_same_bounds(given: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as raised:
        SubmitOptions(**given)
    assert raised.value.hint
