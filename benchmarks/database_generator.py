"""Create a task database of any size with bulk inserts, to measure and test reports.

    python benchmarks/database_generator.py FILE.sqlite --attempts 1000000

Jobs of four nested loops (size, orbital_period, noise, realisation); in the innermost chain synthesis,
verification and a search with an outcome. One attempt in a hundred fails and is retried.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert

from eas import registry
from eas.states import AttemptState, JobState, TaskState
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise

ROWS_PER_INSERT = 20_000
PARAMETERS = ("size", "orbital_period", "noise", "realisation")
LEAVES = ("synthesis_batman", "verify", "transit_search_bls_reference")
WORKERS = 8
FIRST_SUBMISSION = 1_790_000_000.0
"""Unix time of the first submission [s]."""

Row = dict[str, Any]


class Generator:
    """Fill a task database; equal arguments give equal rows.

    Parameters
    ----------
    attempts:
        Total number of finished attempts.
    jobs:
        Number of jobs. The last one is running and also has one waiting task per ten attempts.
    """

    def __init__(self, database: TaskDatabase, attempts: int, jobs: int = 4) -> None:
        self.database = database
        self.wanted = attempts
        self.jobs = jobs
        self.random = random.Random(1)
        self.task_id = self.attempt_id = 0
        self.clock = FIRST_SUBMISSION
        self.pending: dict[Table, list[Row]] = {}

    def run(self) -> None:
        """Insert all rows."""
        self._hosts()
        for job_id in range(1, self.jobs + 1):
            last = job_id == self.jobs
            share = self.wanted - self.attempt_id if last else self.wanted // self.jobs
            self._job(job_id, share, running=last)
        self._flush()

    def _hosts(self) -> None:
        self._add(tables.hosts, {"id": 1, "name": "node-1", "cpus": 8, "memory": 32.0})
        self._add(tables.hosts, {"id": 2, "name": "node-2", "cpus": 8, "memory": 32.0})
        for number in range(WORKERS):
            row = {"id": f"worker-{number}", "host_id": 1 + number % 2, "machine": "m", "pid": 100 + number}
            times = {
                "process_started": FIRST_SUBMISSION,
                "started_at": FIRST_SUBMISSION,
                "heartbeat_at": FIRST_SUBMISSION,
            }
            self._add(tables.workers, row | times | {"worker_types": "[]", "cpus": 1, "state": "alive"})

    def _job(self, job_id: int, attempts: int, *, running: bool) -> None:
        state = JobState.RUNNING if running else JobState.DONE
        started = self.clock
        job = {"id": job_id, "name": f"sweep_{job_id}", "working_directory": "sweep", "state": state, "chain": "{}"}
        rest = {"source": "generated", "seed": "0", "if_exists": "fail", "retries": 1, "backoff": 1.0, "priority": 0}
        times = {"submitted_at": started, "started_at": started, "ended_at": None if running else started + attempts}
        self._add(tables.jobs, job | rest | times)
        side = max(1, math.ceil((attempts / len(LEAVES)) ** (1 / len(PARAMETERS))))
        goal = self.attempt_id + attempts
        root = self._task(job_id, None, "execution_chain", 0, "", {}, TaskState.RUNNING if running else TaskState.DONE)
        # The outermost loop may exceed `side` iterations, because rounding could give fewer than `goal` attempts.
        self._loop(job_id, root, "", {}, 0, side, goal)
        if running:
            for extra in range(attempts // 10):
                self._task(job_id, root, "verify", 1 + extra, str(1 + extra), {}, TaskState.WAITING)

    def _loop(self, job_id: int, parent: int, address: str, inherited: Row, depth: int, side: int, goal: int) -> None:
        if depth == len(PARAMETERS):
            self._leaves(job_id, parent, address, inherited, goal)
            return
        loop_address = f"{address}.0" if address else "0"
        loop = self._task(job_id, parent, "execution_for_loop", 0, loop_address, inherited)
        name = PARAMETERS[depth]
        for index in range(side * 2 if depth == 0 else side):
            if self.attempt_id >= goal:
                return
            metadata = inherited | {name: round(0.02 * 1.3**index, 6), f"{name}_index": index}
            chain = self._task(job_id, loop, "execution_chain", index, f"{loop_address}.{index}", metadata)
            self._loop(job_id, chain, f"{loop_address}.{index}", metadata, depth + 1, side, goal)

    def _leaves(self, job_id: int, parent: int, address: str, metadata: Row, goal: int) -> None:
        for ordinal, task_type in enumerate(LEAVES):
            if self.attempt_id >= goal:
                return
            task_id = self._task(job_id, parent, task_type, ordinal, f"{address}.{ordinal}", metadata, attempted=True)
            number = 1
            if self.random.random() < 0.01 and self.attempt_id + 1 < goal:
                self._attempt(job_id, task_id, task_type, number, AttemptState.FAILED, metadata)
                number = 2
            self._attempt(job_id, task_id, task_type, number, AttemptState.DONE, metadata)
            self.pending[tables.tasks][-1]["accepted_attempt_id"] = self.attempt_id

    def _task(
        self, job_id: int, parent: int | None, task_type: str, ordinal: int, address: str, metadata: Row,
        state: TaskState = TaskState.DONE, *, attempted: bool = False,
    ) -> int:  # fmt: skip
        self.task_id += 1
        row = {"id": self.task_id, "job_id": job_id, "parent_id": parent, "ordinal": ordinal, "address": address}
        what = {"task_type": task_type, "name": None, "job_name": f"sweep_{job_id}", "working_directory": "sweep"}
        settings = {"specs": {"duration": 90, "planet_radius": metadata.get("size"), "noise": 0.0003}}
        state_row = {"state": state, "pending": False, "retries_left": 1, "stalls_left": 5, "fingerprint": None}
        text = {"metadata": json.dumps(metadata), "settings": json.dumps(settings), "requires": "[]"}
        rest = {"accepted_attempt_id": None, "reason": None, "created_at": self.clock, "ended_at": self.clock}
        self._add(tables.tasks, row | what | state_row | text | rest | {"path": "task_list[0]"}, flush=not attempted)
        return self.task_id

    def _attempt(
        self, job_id: int, task_id: int, task_type: str, number: int, state: AttemptState, metadata: Row
    ) -> None:
        self.attempt_id += 1
        self.clock += 1.0
        wall = self.random.expovariate(1 / 5)
        queued, started, ended = self.clock, self.clock + 0.25, self.clock + 0.25 + wall
        row = {"id": self.attempt_id, "task_id": task_id, "job_id": job_id, "number": number, "task_type": task_type}
        times = {"available_at": 0.0, "queued_at": queued, "claimed_at": started, "heartbeat_at": started}
        end = {"state": state, "priority": 0, "worker_id": f"worker-{task_id % WORKERS}", "ended_at": ended}
        self._add(tables.attempts, row | times | end | {"unseen_by": None})
        output: Row = {"mes": round(wall * 10, 4)}
        if task_type.startswith("transit_search"):
            power = metadata["size"] / 0.1 * self.random.random()
            output |= {"period": power * 10, "power": power, "outcome": "PASS" if power > 0.5 else "FAIL"}
        used = {"wall": wall, "cpu": wall * 0.9, "cpu_children": wall * 0.95, "peak_memory": 50 + wall}
        result = {"attempt_id": self.attempt_id, "started_at": started, "ended_at": ended}
        failed = state is not AttemptState.DONE
        said = {"qc_passed": not failed, "checks": "[]", "output_metadata": json.dumps(output), "reason": ""}
        self._add(tables.attempt_results, result | used | said)
        if failed:
            self._log(job_id, started)

    def _log(self, job_id: int, when: float) -> None:
        trace = f'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no {self.attempt_id % 7}'
        entry = {"attempt_id": self.attempt_id, "job_id": job_id, "logged_at": when, "level": 40}
        self._add(tables.log_entries, entry | {"logger": "eas.worker", "message": "it failed", "traceback": trace})

    def _add(self, table: Table, row: Row, *, flush: bool = True) -> None:
        rows = self.pending.setdefault(table, [])
        rows.append(row)
        if flush and len(rows) >= ROWS_PER_INSERT:
            self._flush()

    def _flush(self) -> None:
        """Insert the pending rows, in the order of the foreign keys."""
        with self.database.write() as connection:
            for table in tables.metadata.sorted_tables:
                for part in _parts(self.pending.pop(table, [])):
                    connection.execute(insert(table), part)
        self.pending[tables.tasks] = []


def _parts(rows: list[Row]) -> Iterator[list[Row]]:
    for begin in range(0, len(rows), ROWS_PER_INSERT):
        yield rows[begin : begin + ROWS_PER_INSERT]


def generate(path: Path, attempts: int, jobs: int = 4) -> TaskDatabase:
    """Create or replace the sqlite database ``path`` with ``attempts`` finished attempts, and return it open.

    The file gets its final name after it is complete: otherwise a later benchmark would reuse an incomplete database.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    for each in (path, unfinished):
        for suffix in ("", "-wal", "-shm"):
            each.with_name(each.name + suffix).unlink(missing_ok=True)
    database = TaskDatabase(f"sqlite:///{unfinished}")
    initialise(database, registry.load())
    Generator(database, attempts, jobs).run()
    # Closing the last connection writes the write-ahead log into the file.
    database.close()
    unfinished.rename(path)
    return TaskDatabase(f"sqlite:///{path}")


def main() -> None:
    """Generate the database that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    began = time.perf_counter()
    generate(arguments.path, arguments.attempts, arguments.jobs).close()
    size = arguments.path.stat().st_size / 1e6
    print(f"{arguments.path}: {arguments.attempts} attempts, {size:.0f} MB, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
