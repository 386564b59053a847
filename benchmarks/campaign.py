"""A campaign of real tasks: overhead of EAS, and projected time for 210,664 light curves.

``python -m benchmarks.campaign [--curves 2000] [--workers 2]``. The chain is ``demo_jobs/campaigns/pegasus_scale.json``
with fewer light curves: each is synthesised, verified and searched three times. The database is SQLite and the queue
the SQL queue, the defaults. The overhead is the time of ``eas schedule`` and its workers minus the recorded times of
the tasks.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, select

from benchmarks.common import Result
from benchmarks.end_to_end import Measured, run_chain
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

CHAIN = Path(__file__).parents[1] / "demo_jobs" / "campaigns" / "pegasus_scale.json"
FULL_CAMPAIGN = 210_664
SHORT_TASK = 1.0
"""Duration of the tasks in the measurement of the relative overhead [s]."""


class Campaign(NamedTuple):
    """Measurements of a campaign: elapsed and CPU seconds by process, and the sums that its tasks record [s]."""

    curves: int
    workers: int
    tasks: int
    measured: Measured
    task_wall: float
    task_cpu: float

    @property
    def idle(self) -> float:
        """Wall-clock time that the workers spend without a task [s], including their start and shutdown."""
        return self.measured.seconds * self.workers - self.task_wall

    @property
    def extra_cpu(self) -> float:
        """CPU time of all processes outside the tasks [s]."""
        return sum(self.measured.cpu.values()) - self.task_cpu

    @property
    def cluster_hours(self) -> float:
        """Projected worker hours for all light curves."""
        return self.measured.seconds * self.workers / self.curves * FULL_CAMPAIGN / 3600


def chain(curves: int) -> dict[str, Any]:
    """Return the chain of the campaign with ``curves`` light curves, ten per field."""
    document: dict[str, Any] = json.loads(CHAIN.read_text(encoding="utf-8"))
    (fields,) = document["task_list"]
    (stars,) = fields["task_list"]
    number = max(1, curves // 10)
    fields["linear_range"], stars["linear_range"] = [0, number - 1, number], [0, 9, 10]
    return document


def measure(curves: int, workers: int) -> Campaign:
    """Run the campaign with ``curves`` light curves."""

    def own_times(home: Path) -> tuple[int, float, float]:
        database = TaskDatabase(f"sqlite:///{home / 'eas.sqlite'}")
        result = tables.attempt_results.c
        columns = (func.count(), func.sum(result.wall), func.sum(result.cpu_children))
        count, wall, cpu = database.fetch(lambda c: c.execute(select(*columns)).one())
        database.close()
        return int(count), float(wall), float(cpu)

    measured, (tasks, wall, cpu) = run_chain(chain(curves), workers, look=own_times)
    return Campaign(max(1, curves // 10) * 10, workers, tasks, measured, wall, cpu)


def short_tasks(count: int, workers: int) -> tuple[float, float]:
    """Run tasks that sleep 1 s; return the overhead in wall-clock and CPU time as fractions of the tasks' time.

    The start of the processes is excluded: a second run, with one task per worker, measures it.
    """
    task = {"task": "null", "duration": SHORT_TASK}
    loop = {"task": "execution_for_loop", "parameter": "i", "linear_range": [1, count, count], "task_list": [task]}
    document = {"job_name": "short", "working_directory": "short", "task_list": [loop]}

    def span(home: Path) -> float:
        database = TaskDatabase(f"sqlite:///{home / 'eas.sqlite'}")
        result = tables.attempt_results.c
        query = select(func.max(result.ended_at) - func.min(result.started_at))
        seconds = float(database.fetch(lambda c: c.execute(query).scalar_one()))
        database.close()
        return seconds

    few, _ = run_chain({**document, "task_list": [task] * workers}, workers, look=span)
    measured, seconds = run_chain(document, workers, look=span)
    work = (count - workers) * SHORT_TASK
    cpu = sum(measured.cpu.values()) - sum(few.cpu.values())
    return seconds * workers / (count * SHORT_TASK) - 1, cpu / work


def run() -> list[Result]:
    """Measure 100 light curves and 60 tasks of one second; ``main`` measures larger campaigns."""
    workers = os.cpu_count() or 1
    found = measure(100, workers)
    wall, cpu = short_tasks(60, workers)
    return [
        Result("tasks of 1 s: wall time that the system adds", 100 * wall, None, "%", "at most 1"),
        Result("tasks of 1 s: CPU time that the system adds", 100 * cpu, None, "% of a core", "at most 2"),
        Result(f"campaign, {found.tasks} tasks: CPU beside the tasks'", *_share(found), "s", ""),
        Result(f"campaign of {FULL_CAMPAIGN:,} light curves, projected", found.cluster_hours, None, "worker hours", ""),
    ]


def _share(found: Campaign) -> tuple[float, float]:
    return found.extra_cpu, found.task_cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    found = measure(given.curves, given.workers)
    print(f"{found.curves} light curves, {found.tasks} tasks, {given.workers} workers: {found.measured.seconds:.0f} s")
    print(f"  recorded by the tasks: {found.task_wall:.0f} s wall, {found.task_cpu:.0f} s CPU")
    print(f"  idle workers: {found.idle:.1f} s, {100 * found.idle / found.task_wall:.2f} % of the tasks' wall time")
    print(f"  CPU outside the tasks: {found.extra_cpu:.1f} s, {100 * found.extra_cpu / found.task_cpu:.2f} %")
    print(f"  projected for {FULL_CAMPAIGN:,} light curves: {found.cluster_hours:.0f} worker hours")


if __name__ == "__main__":
    main()
