"""The memory that benchmarks report."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.common import MEGABYTE, peak_memory
from tests.processes import ROOT

CHILD = "from benchmarks.common import peak_memory; print(peak_memory())"
LARGE_PARENT = f"""
import subprocess, sys
held = bytearray(b"x") * 300_000_000
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
"""


def test_peak_memory_remains_after_the_memory_is_freed() -> None:
    size = round((peak_memory() + 50) * MEGABYTE)
    bytearray(b"x") * size
    assert peak_memory() > size / MEGABYTE


def test_peak_memory_of_a_child_excludes_its_parent() -> None:
    # ru_maxrss survives exec(): a small child of a large process reports what the parent held.
    command = [sys.executable, "-c", LARGE_PARENT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < 150
