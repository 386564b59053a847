"""Check that many worker processes on one queue claim each attempt exactly once.

``python -m benchmarks.claims_exclusive [--attempts 20000]`` runs 4 and then 8 processes for each combination of
database and queue. They claim batches of 1 and of up to 20 attempts in turn until the queue is empty; then the
benchmark compares the claimed attempts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter

from benchmarks.queue_setup import COMBINATIONS, REPOSITORY, report, temporary_queue
from eas.app import App


def claim_all(worker: str) -> None:
    """Claim until the queue is empty; print the claimed attempts."""
    with App.load() as app:
        empty, limit = 0, 1
        while empty < 4:
            taken = app.queue.claim(worker, ["error", "null", "verify"], limit, 0.5)
            empty = 0 if taken else empty + 1
            limit = 20 if limit == 1 else 1
            print(*(each.attempt_id for each in taken))


def measure(name: str, processes: int, count: int) -> tuple[object, ...]:
    """Return name, processes, attempts, claimed twice, never delivered, claims a second."""
    with temporary_queue(name) as place:
        ids = {each.attempt_id for each in place.queue_null_tasks(count)}
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.claims_exclusive", "--claim"]
        running = [
            subprocess.Popen(
                [*command, f"w{number}"], env=place.environment(), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
            )
            for number in range(processes)
        ]
        got: Counter[int] = Counter()
        for process in running:
            got.update(int(word) for word in process.communicate()[0].split())
        seconds = time.monotonic() - began - 2.0  # four empty claims of 0.5 s at the end
    double = sum(1 for times in got.values() if times > 1)
    return name, processes, count, double, len(ids - got.keys()), round(count / seconds)


def main() -> None:
    """Measure and print; exit with 1 if an attempt was claimed twice or never."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=20_000)
    parser.add_argument("--claim", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.claim:
        claim_all(options.claim)
        return
    rows = [measure(name, processes, options.attempts) for name in COMBINATIONS for processes in (4, 8)]
    report("claims_exclusive", ["queue", "processes", "attempts", "double", "never", "claims a second"], rows)
    sys.exit(any(row[3] or row[4] for row in rows))


if __name__ == "__main__":
    main()
