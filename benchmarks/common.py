"""Results of benchmarks, their display, and helpers of several benchmarks."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Result:
    """One measured figure of EAS, and the reference measured in the same run.

    ``ratio`` is ``ours`` divided by ``reference``, both in ``unit``; ``aim`` is the target, as text. ``values`` are the
    single measurements, of which ``ours`` is the median: their range shows the noise of the machine.
    """

    name: str
    ours: float
    reference: float | None
    unit: str
    aim: str
    values: tuple[float, ...] = ()

    @property
    def range(self) -> str:
        """Smallest and largest measurement as text; empty if there is only one."""
        return f"{min(self.values):.4g} to {max(self.values):.4g}" if len(self.values) > 1 else ""

    @property
    def ratio(self) -> float | None:
        """``ours`` divided by ``reference``; None without a reference."""
        return None if not self.reference else self.ours / self.reference


def show(results: Sequence[Result]) -> None:
    """Print results as a table."""
    table = Table(title="benchmarks")
    for column in ("what", "ours", "range", "reference", "unit", "ratio", "aim"):
        table.add_column(column, justify="left" if column in ("what", "unit", "aim") else "right")
    for each in results:
        reference = "" if each.reference is None else f"{each.reference:.4g}"
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        table.add_row(each.name, f"{each.ours:.4g}", each.range, reference, each.unit, ratio, each.aim)
    Console(width=170).print(table)


def save(results: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Write the results of each benchmark and a description of the machine as JSON."""
    rows = [
        asdict(each) | {"ratio": each.ratio, "benchmark": benchmark}
        for benchmark, figures in results.items()
        for each in figures
    ]
    machine = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "results": rows}, indent=2) + "\n")


def run_in_subprocess(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in a new process and return the JSON object on the last line of its output."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


MEGABYTE = 1_000_000


def peak_memory() -> float:
    """Return the peak resident memory of this process [MB].

    Linux: ``VmHWM`` of proc(5), because ``ru_maxrss`` survives ``exec()`` and a small child of a large process would
    report the memory of its parent.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError:  # not Linux
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / MEGABYTE


def null_chain(count: int, name: str = "bench") -> dict[str, Any]:
    """Return a chain with a loop over ``count`` empty tasks."""
    body = {"task": "null", "duration": 0}
    loop = {"task": "execution_for_loop", "parameter": "i", "linear_range": [0, 1, count], "task_list": [body]}
    return {"job_name": name, "working_directory": name, "task_list": [loop]}
