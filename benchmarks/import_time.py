"""Time of ``import eas`` in a new process, compared to a process that imports nothing."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.common import Result

TIMES = 15


def seconds(code: str) -> float:
    """Return the shortest time of ``TIMES`` new interpreters that run ``code`` [s]."""
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        found.append(time.perf_counter() - began)
    return min(found)


def run() -> list[Result]:
    """Measure the import and the bare interpreter."""
    return [Result("import eas", seconds("import eas"), seconds("pass"), "s", "at most 1.5 times the bare interpreter")]
