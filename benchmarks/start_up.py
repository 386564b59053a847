"""``eas run`` of one empty task: without a running Prefect server, and with the server of the previous run.

CPU times include the command, its worker, and the Prefect server until the command ends. The template of the server's
database exists, as after ``make setup``.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from sqlalchemy import select

from benchmarks.common import Result
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from flows import prefect_database
from flows.local_server import LocalServer

ROUNDS = 3


class Run(NamedTuple):
    """One run: seconds until the first line of output, until the task starts, until the end; CPU seconds."""

    said: float
    task: float
    wall: float
    cpu: float


def _run(home: Path, chain: Path) -> Run:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "PREFECT_"))}
    environment |= {"EAS_HOME": str(home), "PREFECT_HOME": str(home / "no-profile")}
    server = LocalServer(home / "prefect", 600)
    before = _cpu(server)
    children, began, clock = _of_children(), time.perf_counter(), time.time()
    command = [sys.executable, "-m", "eas", "run", str(chain), "--workers", "1"]
    process = subprocess.Popen(command, cwd=chain.parent, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    said = time.perf_counter() - began
    process.stdout.read()
    if process.wait():
        raise RuntimeError(f"eas run ended with {process.returncode}")
    wall = time.perf_counter() - began
    cpu = _of_children() - children + _cpu(server) - before
    database = TaskDatabase(f"sqlite:///{home / 'eas.sqlite'}")
    result = tables.attempt_results.c
    started = database.fetch(lambda c: c.execute(select(result.started_at).order_by(result.attempt_id.desc())).scalar())
    database.close()
    return Run(said, float(started or 0.0) - clock, wall, cpu)


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu(server: LocalServer) -> float:
    address = server.address()
    return sum(psutil.Process(address.pid).cpu_times()[:2]) if address else 0.0


def run() -> list[Result]:
    """Measure both cases alternately ``ROUNDS`` times; return the medians."""
    prefect_database.main()
    found: dict[str, list[Run]] = {"no server before": [], "a server before": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            chain = Path(folder) / "chain.json"
            task = {"task": "null", "duration": 0}
            chain.write_text(json.dumps({"job_name": "one", "working_directory": "one", "task_list": [task]}))
            try:
                for runs in found.values():
                    runs.append(_run(Path(folder) / "home", chain))
            finally:
                LocalServer(Path(folder) / "home" / "prefect", 0).stop()
    aims = {"no server before": ("1", "3", "6", "8"), "a server before": ("1", "3", "4", "4")}
    what = ("first line", "start of the task", "end", "CPU of all processes")
    return [
        Result(f"eas run of one empty task, {name}: {part}", statistics.median(values), None, "s", f"at most {aim}")
        for name, runs in found.items()
        for part, values, aim in zip(what, zip(*runs, strict=True), aims[name], strict=True)
    ]
