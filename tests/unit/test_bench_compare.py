"""``make bench-compare``: what it says of two series of figures, and that it runs two revisions."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.compare import verdict
from tests.processes import LIMIT, ROOT


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([1.0, 1.1, 1.2], [2.0, 2.2, 2.3], "2.00 times"),
        ([2.0, 2.2, 2.4], [1.0, 1.1, 1.9], "0.50 times"),
        ([1.0, 2.0, 3.0], [2.5, 2.6, 2.7], "no difference seen (1.30)"),
        ([0.0, 0.0], [1.0, 1.0], "inf times"),
    ],
)
def test_a_change_is_separated_from_noise(before: list[float], after: list[float], said: str) -> None:
    assert verdict(before, after) == said


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
def test_two_revisions_are_measured_in_turn() -> None:
    command = [sys.executable, "-m", "benchmarks.compare", "HEAD", "import_time", "--times", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "import eas" in line]
    assert line.count(" to ") == 2
    trees = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "/tree" not in trees.stdout
