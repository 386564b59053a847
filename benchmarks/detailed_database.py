"""Generate a task database with file products, logs and failed tasks, to measure and test pages and queries.

python benchmarks/detailed_database.py URL --tasks 1000000
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from sqlalchemy import select, true, update

from benchmarks.database_generator import LEAVES, PARAMETERS, Generator, Row
from eas import registry
from eas.states import AttemptState, JobState, TaskState
from eas.taskdb import products, tables
from eas.taskdb.chunks import MAX_IN_VALUES, chunks
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise

FAILURES = 0.002
"""Fraction of the leaf tasks that fail permanently."""


class DetailedGenerator(Generator):
    """Generate synthesis tasks, each with a verification and a search that read its light curve; some tasks fail."""

    def __init__(self, database: TaskDatabase, attempts: int, jobs: int = 4) -> None:
        super().__init__(database, attempts, jobs)
        self.product_id = 0
        self.parents: dict[int, int | None] = {}
        self.failed: set[int] = set()

    def run(self) -> None:
        """Insert all rows; set the control tasks above failed tasks and their jobs to failed."""
        super().run()
        above: set[int] = set()
        for task in self.failed:
            parent = self.parents[task]
            while parent is not None and parent not in above:
                above.add(parent)
                parent = self.parents[parent]
        table, job = tables.tasks, tables.jobs
        with self.database.write() as connection:
            for part in chunks(sorted(above)):
                over = update(table).where(table.c.id.in_(part), table.c.state == TaskState.DONE)
                connection.execute(over.values(state=TaskState.FAILED))
            jobs = select(table.c.job_id).where(
                table.c.id.in_(self.failed) if len(self.failed) < MAX_IN_VALUES else true()
            )
            over = update(job).where(job.c.id.in_(jobs), job.c.state == JobState.DONE)
            connection.execute(over.values(state=JobState.FAILED))

    def _task(self, job_id: int, parent: int | None, *rest: Any, **more: Any) -> int:
        task_id = super()._task(job_id, parent, *rest, **more)
        self.parents[task_id] = parent
        return task_id

    def _leaves(self, job_id: int, parent: int, address: str, metadata: Row, goal: int) -> None:
        product = 0
        for ordinal, task_type in enumerate(LEAVES):
            if self.attempt_id >= goal:
                return
            task_id = self._task(job_id, parent, task_type, ordinal, f"{address}.{ordinal}", metadata, attempted=True)
            row = self.pending[tables.tasks][-1]
            failed = ordinal > 0 and self.random.random() < FAILURES
            state = AttemptState.FAILED if failed else AttemptState.DONE
            self._attempt(job_id, task_id, task_type, 1, state, metadata)
            if failed:
                self.failed.add(task_id)
                row |= {"state": TaskState.FAILED, "reason": f"ValueError: no {self.attempt_id % 7}"}
            else:
                row["accepted_attempt_id"] = self.attempt_id
            if ordinal == 0:
                product = self._product(job_id, task_id, metadata)
            else:
                self._add(tables.task_products, {"task_id": task_id, "direction": "in", "semantic": "lightcurve",
                                                 "product_id": product, "dynamic": False}, flush=False)  # fmt: skip
                read = {"attempt_id": self.attempt_id, "semantic": "lightcurve", "version_id": product}
                self._add(tables.attempt_inputs, read, flush=False)

    def _product(self, job_id: int, task_id: int, metadata: Row) -> int:
        self.product_id += 1
        name = f"job{job_id}/" + "_".join(str(metadata[f"{each}_index"]) for each in PARAMETERS) + ".lc.gz"
        key = products.product_key(("sweep", name))
        product = {"id": self.product_id, "working_directory": "sweep", "name": name, "key": key}
        rest = {"current_version_id": self.product_id, "maker_task_id": task_id}
        self._add(tables.products, product | rest, flush=False)
        self._add(tables.task_products, {"task_id": task_id, "direction": "out", "semantic": "lightcurve",
                                         "product_id": self.product_id, "dynamic": False}, flush=False)  # fmt: skip
        stored = {"store_path": f"sweep/.versions/{self.attempt_id}/{name}", "size": 20_000, "sha256": "0" * 64}
        made = {"id": self.product_id, "product_id": self.product_id, "attempt_id": self.attempt_id}
        when = {"semantic": "lightcurve", "passed_qc": True, "created_at": self.clock}
        self._add(tables.product_versions, made | stored | when, flush=False)
        entry: dict[str, Any] = {"attempt_id": self.attempt_id, "job_id": job_id, "logged_at": self.clock}
        said = {"level": 20, "logger": "eas.tasks", "message": "synthesised", "traceback": None}
        self._add(tables.log_entries, entry | said, flush=False)
        return self.product_id


def fill(database: TaskDatabase, tasks: int, jobs: int = 4) -> None:
    """Fill an empty task database with about ``tasks`` tasks, of which at least a third are control tasks."""
    initialise(database, registry.load())
    # 72 % of the tasks are leaves: there is a chain for every three leaves, and a loop for every two dozen tasks.
    DetailedGenerator(database, round(tasks * 0.72), jobs).run()
    with database.write() as connection:
        for table in ("tasks", "attempts", "products", "product_versions", "jobs"):
            block = {"name": table, "next_id": 100_000_000}
            connection.execute(tables.id_blocks.insert().values(block))
        if not database.is_sqlite:
            names = ", ".join(table.name for table in tables.metadata.sorted_tables)
            connection.exec_driver_sql(f"ANALYZE TABLE {names}")


def main() -> None:
    """Generate the database that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    began = time.perf_counter()
    database = TaskDatabase(arguments.url)
    database.create()
    fill(database, arguments.tasks, arguments.jobs)
    database.close()
    print(f"{arguments.tasks} tasks in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
