"""``make bench-compare``: what it says of two series of figures, and that it runs two revisions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compare import own_python, verdict
from tests.processes import MAX_TIMEOUT, ROOT


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([1.0, 1.1, 1.2], [2.0, 2.2, 2.3], "2.00 times"),
        ([2.0, 2.2, 2.4], [1.0, 1.1, 1.9], "0.50 times"),
        ([1.0, 2.0, 3.0], [2.5, 2.6, 2.7], "ranges overlap (1.30)"),
        ([0.0, 0.0], [1.0, 1.0], "inf times"),
    ],
)
def test_a_change_is_separated_from_noise(before: list[float], after: list[float], said: str) -> None:
    assert verdict(before, after) == said


def _worktrees() -> set[str]:
    command = ["git", "worktree", "list", "--porcelain"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if line.startswith("worktree ")}


@pytest.mark.slow
@pytest.mark.timeout(MAX_TIMEOUT)
def test_two_revisions_are_measured_in_turn() -> None:
    before = _worktrees()
    command = [sys.executable, "-m", "benchmarks.compare", "HEAD", "import_time", "--times", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "import eas" in line]
    assert line.count(" to ") == 2
    assert _worktrees() <= before


def test_a_revision_with_its_own_lock_runs_in_its_own_environment(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("setup:\n\tmkdir -p .venv/bin\n\tln -s $(PYTHON) .venv/bin/python\n")
    python = own_python(tmp_path)
    assert python == str(tmp_path / ".venv/bin/python")
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=True
    )
    assert version.stdout.strip() == sys.version


def test_a_revision_that_cannot_be_set_up_is_no_revision_to_compare(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("setup:\n\tfalse\n")
    with pytest.raises(subprocess.CalledProcessError):
        own_python(tmp_path)
