"""Empty tasks in two nested loops: time from ``eas submit`` to the end of the job, and CPU time by process.

``python -m benchmarks.end_to_end [--side 316] [--workers 2] [--flow]``. Runs ``eas schedule`` with SQLite and the SQL
queue; with ``--flow``, ``eas run`` with batched Prefect task runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from benchmarks.common import Result
from eas.app import App
from eas.chains.grammar import parse_chain
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.settings import Settings

T = TypeVar("T")
SAMPLE = 0.2
ROLES = {
    "eas.worker.child": "tasks' processes",
    "eas worker": "workers",
    "eas schedule": "supervisor",
    "eas run": "eas run",
    "prefect": "Prefect server",
}
"""Part of a command line: role of the process. The first match counts."""


class EndToEnd(NamedTuple):
    """Number of tasks, time from submission to the end of the job [s], CPU time [s] and peak memory [MB] by role."""

    tasks: int
    seconds: float
    cpu: dict[str, float]
    memory: dict[str, float]

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return self.tasks / self.seconds


def nested_loops(side: int) -> dict[str, object]:
    """Return a chain of ``side`` squared empty tasks."""
    inner: dict[str, object] = {"task": "null", "duration": 0}
    for parameter in ("j", "i"):
        inner = {
            "task": "execution_for_loop",
            "parameter": parameter,
            "linear_range": [0, side - 1, side],
            "task_list": [inner],
        }
    return {"job_name": "bench", "working_directory": "bench", "task_list": [inner]}


class Measured(NamedTuple):
    """Time from submission to the end of the job [s], CPU time [s] and peak memory [MB] by role of the process."""

    seconds: float
    cpu: dict[str, float]
    memory: dict[str, float]


def run_chain(
    document: Mapping[str, object], workers: int, *, flow: bool = False, jobs: int = 1, look: Callable[[Path], T]
) -> tuple[Measured, T]:
    """Submit and run a chain in a temporary folder; return the measurements and the result of ``look(home)``.

    If ``jobs`` is above 1, the chain is submitted ``jobs`` times with different working directories, and the measured
    time excludes the submission.
    """
    with tempfile.TemporaryDirectory() as folder:
        chain, home = Path(folder) / "chain.json", Path(folder) / "home"
        chain.write_text(json.dumps(document))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "PREFECT_"))}
        environment |= {"EAS_HOME": str(home), "PREFECT_HOME": folder, "EAS_SERVER_IDLE": "0"}
        eas = [sys.executable, "-m", "eas"]
        subprocess.run([*eas, "db", "init"], env=environment, check=True, stdout=subprocess.DEVNULL)
        if jobs > 1:
            submit_many(home, document, jobs)
        began = time.monotonic()
        if flow:
            command = [*eas, "run", str(chain), "--workers", str(workers)]
        else:
            if jobs == 1:
                subprocess.run([*eas, "submit", str(chain)], env=environment, check=True, capture_output=True)
            command = [*eas, "schedule", "--workers", str(workers), "--until-idle", "0.2"]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
            cpu, memory = _watch(process)
        if process.returncode:
            raise RuntimeError(log.read_text()[-2000:])
        return Measured(time.monotonic() - began, cpu, memory), look(home)


def submit_many(home: Path, document: Mapping[str, object], jobs: int) -> None:
    """Submit a chain ``jobs`` times, with different job names and working directories."""
    with App(Settings(home=home)) as app:
        for number in range(jobs):
            names = {"job_name": f"job{number}", "working_directory": f"job{number}"}
            chain = parse_chain(json.dumps({**document, **names}), "chain.json", app.registry)
            submit(app.database, app.registry, chain, SubmitOptions())


def measure(side: int, workers: int, flow: bool = False) -> EndToEnd:
    """Submit and run the nested loops; return the measurements."""
    measured, _ = run_chain(nested_loops(side), workers, flow=flow, look=lambda _: None)
    return EndToEnd(side * side, *measured)


def _watch(process: subprocess.Popen[bytes]) -> tuple[dict[str, float], dict[str, float]]:
    """Wait until a process ends; return CPU time [s] and peak memory [MB] of it and its descendants, by role."""
    cpu: dict[tuple[int, float], tuple[str, float]] = {}
    memory: dict[str, float] = defaultdict(float)
    while True:
        try:
            parent = psutil.Process(process.pid)
            for each in [parent, *parent.children(recursive=True)]:
                with each.oneshot():
                    key = each.pid, each.create_time()
                    # A zombie process has no command line: keep its role from the last sample.
                    role = _role(each) if each.status() != psutil.STATUS_ZOMBIE else cpu.get(key, ("others", 0))[0]
                    cpu[key] = (role, sum(each.cpu_times()[:2]))
                    memory[role] = max(memory[role], each.memory_info().rss / 1e6)
        except psutil.Error:
            pass
        try:
            process.wait(SAMPLE)
            break
        except subprocess.TimeoutExpired:
            continue
    found: dict[str, float] = defaultdict(float)
    for role, seconds in cpu.values():
        found[role] += seconds
    return dict(found), dict(memory)


def _role(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    return next((role for part, role in ROLES.items() if part in command), "others")


def run() -> list[Result]:
    """Measure ``eas schedule``, then ``eas run``."""
    alone, flow = measure(316, 2), measure(316, 2, flow=True)
    return [
        Result("100,000 empty tasks, submit to end, 2 workers, sqlite", alone.rate, None, "tasks/s", "at least 1500"),
        Result("... the same as a Prefect flow", flow.rate, alone.rate, "tasks/s", "ratio at least 0.9"),
        *(
            Result(f"CPU a task: {role}", 1e6 * seconds / alone.tasks, None, "µs", "")
            for role, seconds in sorted(alone.cpu.items(), key=lambda item: -item[1])
        ),
    ]


def main() -> None:
    """Measure once and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=316)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--flow", action="store_true")
    given = parser.parse_args()
    found = measure(given.side, given.workers, given.flow)
    print(f"{found.tasks} tasks in {found.seconds:.1f} s: {found.rate:.0f} tasks/s")
    for role, seconds in sorted(found.cpu.items(), key=lambda item: -item[1]):
        each = 1e6 * seconds / found.tasks
        print(f"  {role}: {seconds:.1f} s, {each:.0f} µs per task, {found.memory[role]:.0f} MB")


if __name__ == "__main__":
    main()
