"""One job with very many tasks, and very many jobs: rate, memory and database size, and their growth.

``python -m benchmarks.large_jobs [--leaves 1000000] [--jobs 10000]``. Runs empty tasks in four nested loops, and jobs
of ten empty tasks, with ``eas schedule`` and two workers, on SQLite, without Prefect.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import event, func, select

from benchmarks.common import Result, null_chain
from benchmarks.end_to_end import run_chain
from eas.app import App
from eas.chains.grammar import parse_chain
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.orchestration.drive import Driver
from eas.settings import Settings
from eas.taskdb import tables
from eas.worker.worker import WorkerOptions

WORKERS = 2


class Large(NamedTuple):
    """What a job took: tasks, seconds, memory of the supervisor [MB], bytes of the database a task, ...

    ... and seconds from its submission to the start of its first task.
    """

    tasks: int
    seconds: float
    memory: float
    size: float
    first: float


def four_loops(leaves: int) -> tuple[dict[str, Any], int]:
    """Return a chain of about ``leaves`` empty tasks in four nested loops, and their exact number."""
    side = max(1, round(leaves**0.25))
    inner: dict[str, Any] = {"task": "null", "duration": 0}
    for parameter in ("noise", "impact", "period", "size"):
        inner = {
            "task": "execution_for_loop",
            "parameter": parameter,
            "linear_range": [0, 1, side],
            "task_list": [inner],
        }
    return {"job_name": "large", "working_directory": "large", "task_list": [inner]}, side**4


def large(leaves: int) -> Large:
    """Run a job of about ``leaves`` leaf tasks."""
    document, count = four_loops(leaves)
    measured, (size, first) = run_chain(document, WORKERS, look=lambda home: (_size(home), _first_start(home)))
    return Large(count, measured.seconds, measured.memory["supervisor"], size / count, first)


def many(jobs: int) -> tuple[float, float]:
    """Run ``jobs`` jobs of ten empty tasks; return jobs per second and peak memory of the supervisor [MB]."""
    measured, _ = run_chain(null_chain(10), WORKERS, jobs=jobs, look=lambda _: None)
    return jobs / measured.seconds, measured.memory["supervisor"]


def _size(home: Path) -> int:
    return sum(path.stat().st_size for path in home.glob("eas.sqlite*"))


def _first_start(home: Path) -> float:
    submitted, started = tables.jobs.c.submitted_at, tables.attempt_results.c.started_at
    with App(Settings(home=home)) as app, app.database.read() as connection:
        first = connection.execute(select(func.min(started))).scalar_one()
        return float(first - connection.execute(select(func.min(submitted))).scalar_one())


def statements(count: int) -> float:
    """Return the SQL statements per task of submission, orchestrator and one worker; an ``executemany`` counts once."""
    executed = 0

    def note(*_: Any) -> None:
        nonlocal executed
        executed += 1

    with tempfile.TemporaryDirectory() as folder, App(Settings(home=Path(folder))) as app:
        event.listen(app.database.engine, "before_cursor_execute", note)
        chain = parse_chain(json.dumps(null_chain(count)), "bench.json", app.registry)
        orchestrator = app.orchestrator(submit(app.database, app.registry, chain, SubmitOptions()))
        worker = app.worker(WorkerOptions(("eas-base",), idle_exit=2.0))
        thread = threading.Thread(target=worker.run)
        with Driver(orchestrator) as driver:
            thread.start()
            driver.run()
        thread.join()
        assert worker.stats.done == count
    return executed / count


def run() -> list[Result]:
    """Measure jobs of 10^4 and 10^5 tasks, and 300 jobs; ``main`` measures larger ones."""
    small, big = large(10_000), large(100_000)
    exponent = math.log(big.seconds / small.seconds) / math.log(big.tasks / small.tasks)
    rate, memory = many(300)
    return [
        Result(f"job of {big.tasks} tasks in four loops: exponent of its time", exponent, None, "", "at most 1.05"),
        Result(f"job of {big.tasks} tasks: memory of the supervisor", big.memory, None, "MB", ""),
        Result(f"job of {big.tasks} tasks: database", big.size, None, "bytes a task", "at most 1200"),
        Result(f"job of {big.tasks} tasks: start of the first", big.first, None, "s", ""),
        Result("SQL statements a task", statements(5_000), None, "", "at most 4"),
        Result("jobs of ten tasks", rate, None, "jobs/s", "at least 20"),
        Result("300 jobs: memory of the supervisor", memory, None, "MB", ""),
    ]


def main() -> None:
    """Measure and print the sizes that the command line gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=0)
    given = parser.parse_args()
    if given.leaves:
        found = large(given.leaves)
        print(f"{found.tasks} tasks: {found.seconds:.0f} s, {found.tasks / found.seconds:.0f} tasks/s,")
        print(f"  supervisor {found.memory:.0f} MB, database {found.size:.0f} bytes a task")
        print(f"  first task after {found.first:.1f} s")
    if given.jobs:
        rate, memory = many(given.jobs)
        print(f"{given.jobs} jobs of ten tasks: {rate:.1f} jobs/s, supervisor {memory:.0f} MB")


if __name__ == "__main__":
    main()
