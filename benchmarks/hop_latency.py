"""Time from the end of a task to the start of its successor, and CPU usage of idle processes.

``python -m benchmarks.hop_latency [--tasks 60] [--idle 20]``. Runs empty tasks with one worker and one supervisor,
without Prefect. The child processes that run the tasks record the times.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

import psutil
from sqlalchemy import select

from benchmarks.common import Result
from benchmarks.queue_setup import COMBINATIONS, REPOSITORY, TemporaryQueue, report, temporary_queue
from eas import registry
from eas.chains.grammar import parse_chain
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.taskdb import tables
from infra.services.processes import ServiceError

MAX_MEDIAN = {"sqlite+sql": 10, "mariadb+sql": 25, "mariadb+rabbitmq": 10}
"""Target for the median by combination [ms]."""


def _dependent_tasks(count: int) -> str:
    """Return a chain in which each task depends on the previous one."""
    tasks = [
        {"task": "null", "name": f"t{number}", "duration": 0}
        | ({"requires_metadata_from": [f"t{number - 1}"]} if number else {})
        for number in range(count)
    ]
    return json.dumps({"job_name": "row", "working_directory": "row", "task_list": tasks})


def _start(place: TemporaryQueue, stack: ExitStack, *arguments: str) -> psutil.Process:
    log = stack.enter_context((place.folder / f"{arguments[0]}.log").open("ab"))
    command = [sys.executable, "-m", "eas", *arguments]
    process = subprocess.Popen(command, env=place.environment(), cwd=REPOSITORY, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return psutil.Process(process.pid)


def _run(place: TemporaryQueue, count: int) -> list[float]:
    """Run a sequence of tasks; return the time between each task and the next [ms]."""
    known = registry.load()
    job = submit(place.database, known, parse_chain(_dependent_tasks(count), "row.json", known), SubmitOptions())
    ended = select(tables.jobs.c.ended_at).where(tables.jobs.c.id == job)
    while place.database.fetch(lambda c: c.execute(ended).scalar_one()) is None:
        time.sleep(0.2)
    attempt, result = tables.attempts.c, tables.attempt_results.c
    query = select(result.started_at, result.ended_at).join(tables.attempts, attempt.id == result.attempt_id)
    times = place.database.fetch(lambda c: c.execute(query.where(attempt.job_id == job).order_by(attempt.id)).all())
    return [1000 * (after[0] - before[1]) for before, after in itertools.pairwise(times)]


def measure(name: str, count: int, idle: float) -> tuple[object, ...]:
    """Return name, median, 90 % and 99 % quantiles [ms], and CPU usage of idle worker and supervisor [% of a core]."""
    with temporary_queue(name) as place, ExitStack() as stack:
        worker = _start(place, stack, "worker", "--type", "eas-base")
        supervisor = _start(place, stack, "schedule")
        _run(place, 2)
        hops = sorted(_run(place, count))
        time.sleep(3)
        before, began = [sum(each.cpu_times()[:2]) for each in (worker, supervisor)], time.monotonic()
        time.sleep(idle)
        spent = [sum(each.cpu_times()[:2]) - old for each, old in zip((worker, supervisor), before, strict=True)]
        share = [round(100 * each / (time.monotonic() - began), 2) for each in spent]
    points = [hops[min(len(hops) - 1, int(share * len(hops)))] for share in (0.9, 0.99)]
    return name, *(round(each, 1) for each in (statistics.median(hops), *points)), *share


def run() -> list[Result]:
    """Measure on SQLite, and on the other combinations if their services can be started."""
    found: list[Result] = []
    for name, aim in MAX_MEDIAN.items():
        try:
            _, median, _, last, *idle = measure(name, 60, 20.0)
        except ServiceError as missing:
            print(f"skipping {name}: {missing}")
            continue
        hop = f"from a task's end to the start of the next, {name}"
        found.append(Result(f"{hop}: median", float(str(median)), None, "ms", f"at most {aim}"))
        found.append(Result(f"{hop}: 99 %", float(str(last)), None, "ms", f"at most {5 * aim}"))
        for who, share in zip(("worker", "supervisor"), idle, strict=True):
            found.append(Result(f"CPU of an idle {who}, {name}", float(str(share)), None, "% of a core", "at most 0.5"))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--idle", type=float, default=20.0)
    parser.add_argument("--only", choices=COMBINATIONS)
    given = parser.parse_args()
    names = [given.only] if given.only else COMBINATIONS
    rows = [measure(name, given.tasks, given.idle) for name in names]
    headings = ["queue", "median [ms]", "90 % [ms]", "99 % [ms]", "idle worker [%]", "idle supervisor [%]"]
    report("hop_latency", headings, rows)


if __name__ == "__main__":
    main()
