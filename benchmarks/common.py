"""The result of a benchmark, and its display."""

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
    """One figure: ours, and the reference measured in the same run.

    ``ratio`` is ours divided by the reference, both in ``unit``; ``aim`` says what it should be. ``values``
    are the single measurements whose median ``ours`` is: their range shows the machine's noise.
    """

    name: str
    ours: float
    reference: float | None
    unit: str
    aim: str
    values: tuple[float, ...] = ()

    @property
    def range(self) -> str:
        """The smallest and the largest measurement; empty where there is one."""
        return f"{min(self.values):.4g} to {max(self.values):.4g}" if len(self.values) > 1 else ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by the reference."""
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
    """Write the results of each benchmark as JSON, and what they were measured on."""
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


def in_a_process(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in a process of its own and return the JSON on the last line that it prints."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


MEGABYTE = 1_000_000


def peak_memory() -> float:
    """Return the largest resident memory of this process so far [MB].

    On Linux from ``VmHWM`` of proc(5): ``ru_maxrss`` survives ``exec()``, so that a small child of a large process
    would report the memory of its parent.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError:  # no Linux
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / MEGABYTE


def null_chain(count: int, name: str = "bench") -> dict[str, Any]:
    """Return a chain of ``count`` empty tasks, as a loop."""
    body = {"task": "null", "duration": 0}
    loop = {"task": "execution_for_loop", "parameter": "i", "linear_range": [0, 1, count], "task_list": [body]}
    return {"job_name": name, "working_directory": name, "task_list": [loop]}
