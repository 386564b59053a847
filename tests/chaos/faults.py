"""What goes wrong: processes killed or stopped, servers restarted, queues emptied, operators at work."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pika
import psutil
from sqlalchemy import select

from eas.control.cancel import cancel
from eas.control.empty_queue import empty_queue
from eas.control.reschedule import reschedule
from eas.errors import RequestError
from eas.queues.base import JobQueue
from eas.queues.rabbitmq import RabbitMQQueue
from eas.queues.sql import SQLQueue
from eas.taskdb import jobs, tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.store import SQLAttemptStore
from infra.services import mariadb, places, rabbitmq

REPOSITORY = Path(__file__).parents[2]
LEASE = 3.0
WORKER_TYPES = ("eas-base", "eas-worker-synthesis-psls-batman")


class Cast:
    """The processes under test: workers and a driver, replaced when they end."""

    def __init__(self, environment: Mapping[str, str], log: Path, workers: int) -> None:
        self.environment = dict(environment)
        self.log = log
        self.workers = [self._worker() for _ in range(workers)]
        self.driver = self._driver()
        self.restarts = 0

    def _worker(self) -> subprocess.Popen[bytes]:
        types = [word for name in WORKER_TYPES for word in ("--type", name)]
        return self._start(["-m", "eas", "worker", *types])

    def _driver(self) -> subprocess.Popen[bytes]:
        return self._start(["-m", "tests.chaos.driver"])

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=REPOSITORY,
                start_new_session=True,
            )

    def mend(self) -> None:
        """Start those again that have ended."""
        for number, process in enumerate(self.workers):
            if process.poll() is not None:
                self.workers[number] = self._worker()
                self.restarts += 1
        if self.driver.poll() is not None:
            self.driver = self._driver()
            self.restarts += 1

    def end(self) -> None:
        """End all of them."""
        for process in [*self.workers, self.driver]:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in [*self.workers, self.driver]:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Faults:
    """Strikes at random; counts by kind what struck."""

    def __init__(
        self, cast: Cast, rng: random.Random, database: TaskDatabase, *, engine: str, queue: str, queue_url: str
    ) -> None:
        self.cast = cast
        self.database = database
        self.rng = rng
        self.queue_url = queue_url
        self.struck: Counter[str] = Counter()
        self._stopped: set[int] = set()
        self._deck: list[str] = []
        self.kinds: dict[str, tuple[Callable[[], bool], int]] = {
            "worker killed": (self._kill_worker, 5),
            "task child killed": (self._kill_child, 5),
            "orchestrator killed": (self._kill_driver, 4),
            "worker stopped past its lease": (self._stop_worker, 2),
            "orchestrator stopped past its lease": (self._stop_driver, 1),
            "queue emptied and rescheduled": (self._empty, 2),
            "job cancelled and rescheduled": (self._cancel, 2),
        }
        if engine == "mariadb":
            self.kinds["MariaDB killed and restarted"] = (self._restart_mariadb, 2)
        if queue == "rabbitmq":
            self.kinds["RabbitMQ restarted"] = (self._restart_rabbitmq, 2)
            self.kinds["RabbitMQ queues purged"] = (self._purge, 3)

    def strike(self) -> str:
        """Do one thing and return what; wait a while for what it needs, such as a busy worker."""
        while True:
            if not self._deck:  # each kind comes as often as its weight says, in a random order
                self._deck = [name for name, (_, weight) in self.kinds.items() for _ in range(weight)]
                self.rng.shuffle(self._deck)
            name = self._deck.pop()
            deadline = time.monotonic() + 10.0
            while time.monotonic() < deadline:
                if self.kinds[name][0]():
                    self.struck[name] += 1
                    return name
                self.cast.mend()
                time.sleep(0.05)

    def _busy_worker(self) -> int | None:
        """Return the process number of a worker that is running attempts right now: nothing else is worth a fault."""
        worker, attempt = tables.workers.c, tables.attempts.c
        query = select(worker.pid).join_from(tables.workers, tables.attempts, attempt.worker_id == worker.id)
        query = query.where(attempt.state == "running").distinct()
        busy = set(self.database.fetch(lambda c: c.execute(query).scalars().all()))
        found = [each.pid for each in self.cast.workers if each.pid in busy and each.poll() is None]
        return self.rng.choice(found) if found else None

    def _kill_worker(self) -> bool:
        pid = self._busy_worker()
        return pid is not None and _send(pid, signal.SIGKILL)

    def _kill_child(self) -> bool:
        pid = self._busy_worker()
        if pid is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(pid).children(recursive=True)
            return bool(children) and _send(self.rng.choice(children).pid, signal.SIGKILL)
        return False

    def _kill_driver(self) -> bool:
        return self._driver_is_up() and _send(self.cast.driver.pid, signal.SIGKILL)

    def _driver_is_up(self) -> bool:
        """Whether the driver has had the time to take a job over."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return time.time() - psutil.Process(self.cast.driver.pid).create_time() > 3.0
        return False

    def _stop_worker(self) -> bool:
        pid = self._busy_worker()
        return pid is not None and self._stop(pid)

    def _stop_driver(self) -> bool:
        return self._driver_is_up() and self._stop(self.cast.driver.pid)

    def _stop(self, pid: int) -> bool:
        """Stop a process until well past its lease, while other things go on."""
        if pid in self._stopped or not _send(pid, signal.SIGSTOP):
            return False
        self._stopped.add(pid)

        def resume() -> None:
            _send(pid, signal.SIGCONT)
            self._stopped.discard(pid)

        timer = threading.Timer(LEASE * self.rng.uniform(1.3, 2.0), resume)
        timer.daemon = True
        timer.start()
        return True

    def _operator(self) -> JobQueue:
        store = SQLAttemptStore(self.database)
        return SQLQueue(store) if self.queue_url == "sql:" else RabbitMQQueue(self.queue_url, store)

    def _empty(self) -> bool:
        with contextlib.closing(self._operator()) as queue:
            taken = empty_queue(self.database, queue)
            time.sleep(self.rng.uniform(0.0, 1.0))
            reschedule(self.database, queue)
        return bool(taken)

    def _cancel(self) -> bool:
        running = [job.id for job in self.database.fetch(jobs.unfinished) if job.state == "running"]
        if not running:
            return False
        with contextlib.closing(self._operator()) as queue:
            job = self.rng.choice(running)
            try:
                stopped = cancel(self.database, queue, job).tasks
            except RequestError:
                return False  # it was over at that very moment
            time.sleep(self.rng.uniform(0.0, 1.0))
            reschedule(self.database, queue, job_id=job)
        return stopped > 0

    def _restart_mariadb(self) -> bool:
        mariadb.stop(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
        mariadb.start(places.make())
        return True

    def _restart_rabbitmq(self) -> bool:
        rabbitmq.stop(self.rng.choice([signal.SIGKILL, signal.SIGTERM]), with_epmd=False)
        rabbitmq.start(places.make())
        return True

    def _purge(self) -> bool:
        try:
            connection = pika.BlockingConnection(pika.URLParameters(self.queue_url))
            channel = connection.channel()
            for name in ("null", "synthesis_batman", "binning", "verify"):
                channel.queue_purge(f"eas.{name}")
            connection.close()
        except pika.exceptions.AMQPError:
            return False  # no queue yet
        return True


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        status = psutil.Process(pid).status()
        if status == psutil.STATUS_ZOMBIE or (status == psutil.STATUS_STOPPED) != (number is signal.SIGCONT):
            return False
        os.kill(pid, number)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    return True
