"""Temporary task databases and job queues with null tasks, for the benchmarks of the job queues."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from eas import registry
from eas.model import QueuedAttempt, TaskSpec
from eas.operations.pause import pause, resume
from eas.queues.base import JobQueue
from eas.queues.rabbitmq import RabbitMQQueue
from eas.queues.sql import SQLQueue
from eas.taskdb import attempts, jobs, tables, tasks
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from infra.services import mariadb, rabbitmq, service_state

REPOSITORY = Path(__file__).parents[1]
COMBINATIONS = ("sqlite+sql", "mariadb+sql", "mariadb+rabbitmq")


@dataclass
class TemporaryQueue:
    """A temporary task database and its job queue."""

    name: str
    folder: Path
    database: TaskDatabase
    queue: JobQueue
    queue_url: str

    def environment(self) -> dict[str, str]:
        """Return the environment variables of worker processes."""
        return os.environ | {
            "EAS_HOME": str(self.folder),
            "EAS_DATABASE_URL": self.database.url,
            "EAS_QUEUE_URL": self.queue_url,
            "PYTHONWARNINGS": "ignore",
        }

    def queue_null_tasks(self, count: int) -> list[QueuedAttempt]:
        """Insert a job of null tasks without duration, queue all of them, and return the attempts."""
        queued: list[QueuedAttempt] = []
        job_id = self.database.transact(_job)
        for start in range(0, count, 5_000):
            number = min(5_000, count - start)
            queued += self.database.transact(lambda c, s=start, n=number: _add(c, job_id, s, n))  # type: ignore[misc]
        self.queue.publish(queued)
        return queued

    def states(self) -> dict[str, int]:
        """Return the number of attempts by state."""
        state = tables.attempts.c.state
        query = select(state, func.count()).group_by(state)
        return self.database.fetch(lambda c: {row[0]: row[1] for row in c.execute(query)})

    def run_all_queued(self, workers: int) -> float:
        """Run all queued attempts in worker processes; return the seconds from the first claim to the last result.

        The queue is paused until all workers have started, so that the time excludes the import of Python packages.
        """
        pause(self.database)
        command = [sys.executable, "-m", "eas", "worker", "--type", "eas-base"]
        with (self.folder / "workers.log").open("ab") as log:
            started = [
                subprocess.Popen(command, env=self.environment(), cwd=REPOSITORY, stdout=log, stderr=log)
                for _ in range(workers)
            ]
        try:
            self._until(lambda: self._alive() >= workers, started)
            resume(self.database, self.queue)
            self._until(lambda: not {"queued", "running"} & self.states().keys(), started)
        finally:
            for process in started:
                process.terminate()
            codes = [process.wait() for process in started]
        if any(codes):
            raise RuntimeError((self.folder / "workers.log").read_text()[-2000:])
        column = tables.attempts.c
        query = select(func.min(column.claimed_at), func.max(column.ended_at))
        first, last = self.database.fetch(lambda c: c.execute(query).one())
        return float(last - first)

    def _alive(self) -> int:
        query = select(func.count()).where(tables.workers.c.state == "alive")
        return int(self.database.fetch(lambda c: c.execute(query).scalar_one()))

    def _until(self, condition: Callable[[], bool], workers: Sequence[subprocess.Popen[bytes]]) -> None:
        while not condition():
            if any(process.poll() is not None for process in workers):
                raise RuntimeError((self.folder / "workers.log").read_text()[-2000:])
            time.sleep(0.1)


def _job(connection: object) -> int:
    names = {"name": "benchmark", "working_directory": "benchmark", "chain": "{}", "source": "", "seed": "0"}
    rules = {"if_exists": "fail", "retries": 0, "backoff": 1.0, "priority": 0}
    return jobs.add(connection, now=time.time(), **names, **rules)  # type: ignore[arg-type]


def _add(connection: object, job_id: int, start: int, count: int) -> list[QueuedAttempt]:
    first = tasks.reserve(connection, count)  # type: ignore[arg-type]
    settings = {"duration": 0}
    new = {
        first + number: tasks.NewTask(
            None,
            TaskSpec(f"{start + number}", "", "null", None, "benchmark", "benchmark", {}, settings, {}, {}),
        )
        for number in range(count)
    }
    tasks.add(connection, job_id, new, retries=0, max_stalls=5, now=time.time())  # type: ignore[arg-type]
    items = [attempts.QueueItem(task_id, job_id, "null", 1, 0) for task_id in new]
    return attempts.queue(connection, items, time.time())  # type: ignore[arg-type]


@contextmanager
def temporary_queue(name: str) -> Iterator[TemporaryQueue]:
    """Yield a temporary database and queue of a combination; start the private services if needed."""
    engine, kind = name.split("+")
    unique = f"bench_{uuid.uuid4().hex[:8]}"
    folder = Path(tempfile.mkdtemp(prefix="eas-bench-"))
    url, queue_url = f"sqlite:///{folder}/eas.sqlite", "sql:"
    state = service_state.load_or_create()
    if engine == "mariadb":
        mariadb.start(state)
        url = f"{state.mariadb_url}{unique}"
    if kind == "rabbitmq":
        rabbitmq.start(state)
        rabbitmq.control(state, "add_vhost", unique)
        rabbitmq.control(state, "set_permissions", "-p", unique, "eas", ".*", ".*", ".*")
        queue_url = state.rabbitmq_url.replace("%2F", unique)
    database = TaskDatabase(url)
    database.create()
    initialise(database, registry.load())
    store = AttemptClaims(database)
    queue: JobQueue = RabbitMQQueue(queue_url, store) if kind == "rabbitmq" else SQLQueue(store)
    try:
        yield TemporaryQueue(name, folder, database, queue, queue_url)
    finally:
        queue.close()
        database.close()
        if kind == "rabbitmq":
            rabbitmq.control(state, "delete_vhost", unique)
        if engine == "mariadb":
            connection = mariadb.connect(state)
            connection.cursor().execute(f"DROP DATABASE IF EXISTS `{unique}`")
            connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as plain text."""
    texts = [[f"{each:.3g}" if isinstance(each, float) else str(each) for each in row] for row in [headings, *rows]]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headings))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in texts)


def report(name: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, and then its rows as one line of JSON."""
    print(table(headings, rows))
    print(json.dumps({"benchmark": name, "rows": [dict(zip(headings, row, strict=True)) for row in rows]}))
