"""Time from queueing a task to its start on an idle worker: median and maximum [ms].

``python -m benchmarks.queue_latency [--tasks 50]``.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time

from sqlalchemy import select

from benchmarks.queue_setup import COMBINATIONS, REPOSITORY, report, temporary_queue
from eas.taskdb import tables


def measure(name: str, count: int) -> tuple[object, ...]:
    """Return name, median and maximum delay [ms]."""
    with temporary_queue(name) as place:
        place.queue_null_tasks(1)
        command = [sys.executable, "-m", "eas", "worker", "--type", "eas-base"]
        with (place.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(command, env=place.environment(), cwd=REPOSITORY, stdout=log, stderr=log)
        try:
            while place.states() != {"done": 1}:
                time.sleep(0.2)
            queued_at: dict[int, float] = {}
            for _ in range(count):
                time.sleep(random.uniform(0.3, 0.6))
                for each in place.queue_null_tasks(1):
                    queued_at[each.attempt_id] = time.time()
            time.sleep(1.0)
            result = tables.attempt_results.c
            query = select(result.attempt_id, result.started_at)
            started = place.database.fetch(lambda c: {row[0]: row[1] for row in c.execute(query)})
        finally:
            worker.terminate()
            worker.wait()
    delays = [(started[each] - queued_at[each]) * 1000 for each in queued_at]
    return name, round(statistics.median(delays), 1), round(max(delays), 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50)
    count = parser.parse_args().tasks
    rows = [measure(name, count) for name in COMBINATIONS]
    report("queue_latency", ["queue", "median [ms]", "largest [ms]"], rows)


if __name__ == "__main__":
    main()
