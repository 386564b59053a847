"""Measures the CPU time and memory of attempts, inside the child process. Imported by the child.

Reading ``/proc`` and resetting the high-water mark takes 50 us, a fifth of an empty task, so this is done only
after attempts that can have moved the mark.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from pathlib import Path

from eas.model import Usage
from eas.worker.protocol import MEGABYTE

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_TRIVIAL_WALL = 1e-3
_TRIVIAL_FAULTS = 64
"""An attempt shorter than this [s], with fewer page faults, moves memory by a few MB at most."""


def cpu_totals() -> tuple[float, float]:
    """Return the CPU time [s] of this process, and of its children that have been waited for."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


class UsageMeter:
    """Measures one attempt after the other.

    Attributes
    ----------
    resident:
        Resident memory [MB] at the last reading.
    totals:
        CPU time [s] over the life of this process: its own, its children's.
    """

    def __init__(self) -> None:
        self.totals = cpu_totals()
        self.resident = 0.0
        self._wall = self._faults = 0.0
        self.read_memory()

    def start(self) -> None:
        """Begin an attempt."""
        self._faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        self.totals = cpu_totals()
        self._wall = time.perf_counter()

    def stop(self) -> Usage:
        """End the attempt and return what it used."""
        wall = time.perf_counter() - self._wall
        before_own, before_children = self.totals
        own, children = self.totals = cpu_totals()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - self._faults
        trivial = wall < _TRIVIAL_WALL and faults < _TRIVIAL_FAULTS
        peak = self.resident if trivial else self.read_memory()
        cpu = own - before_own
        return Usage(wall, cpu, cpu + children - before_children, peak)

    def read_memory(self) -> float:
        """Read resident memory, reset its high-water mark, and return what that was [MB]."""
        peak = 0.0
        try:
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak = int(line.split()[1]) * 1024 / MEGABYTE
                elif line.startswith("VmRSS:"):
                    self.resident = int(line.split()[1]) * 1024 / MEGABYTE
                    break
        except OSError:  # not Linux: only the peak since the start of the process is available
            unit = 1 if sys.platform == "darwin" else 1024
            self.resident = peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE
        with contextlib.suppress(OSError):
            _CLEAR_REFS.write_text("5")  # proc(5): resets the peak resident set size to the current one
        return max(peak, self.resident)
