"""What goes wrong: processes, services, network, disk and clocks fail, and operators interfere."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pika
import psutil
from sqlalchemy import select

from eas.errors import EASError, RequestError
from eas.operations.cancel import cancel
from eas.operations.empty_queue import empty_queue
from eas.operations.reschedule import reschedule
from eas.queues.base import JobQueue
from eas.queues.rabbitmq import RabbitMQQueue
from eas.queues.sql import SQLQueue
from eas.taskdb import tables
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import unfinished_jobs
from infra.services import mariadb, rabbitmq, service_state
from tests import clock
from tests.chaos import disk
from tests.chaos.chaos_processes import ChaosProcesses
from tests.chaos.disk import Disk
from tests.chaos.driver import LEASE
from tests.chaos.network import FaultyProxy
from tests.chaos.operator import TASK_TYPES
from tests.clock import Clock

HOUR = 3600.0
DISK, CLOCK = "disk full", "clock set by an hour"
ALWAYS = (
    "worker killed", "task child killed", "supervisor killed", "worker stopped past its lease",
    "supervisor stopped past its lease", "queue emptied and rescheduled", "job cancelled and rescheduled", DISK,
)  # fmt: skip
# On sqlite the clock is that of the machine, and due times follow it: docs/explanation/reliability.md.
SERVER = ("task database killed or restarted", "network slow", "network swallows", "network cut", CLOCK)
BROKER = ("RabbitMQ killed or restarted", "RabbitMQ queues purged")


def applicable(engine: str, queue: str) -> list[str]:
    """Return the kinds of faults that this machine can do to a combination."""
    names = [*ALWAYS, *(SERVER if engine == "mariadb" else ()), *(BROKER if queue == "rabbitmq" else ())]
    absent = {name for name, there in ((DISK, disk.can_mount()), (CLOCK, clock.library())) if not there}
    return [name for name in names if name not in absent]


@dataclass
class Environment:
    """All that may fail; ``engine`` is sqlite or mariadb (MySQL, too), ``queue`` sql or rabbitmq."""

    engine: str
    queue: str
    queue_url: str
    database: TaskDatabase
    disk: Disk
    clocks: Sequence[Clock]
    links: Sequence[FaultyProxy]


class Faults:
    """Strikes at random; counts by kind what struck."""

    def __init__(self, cast: ChaosProcesses, rng: random.Random, scene: Environment) -> None:
        self.cast, self.rng, self.scene = cast, rng, scene
        self.database = scene.database
        self.struck: Counter[str] = Counter()
        self._stopped: set[int] = set()
        self._timers: list[threading.Timer] = []
        self.kinds = self._kinds()

    def _kinds(self) -> dict[str, Callable[[], bool]]:
        return {
            "worker killed": self._kill_worker,
            "task child killed": self._kill_child,
            "supervisor killed": self._kill_supervisor,
            "worker stopped past its lease": self._stop_worker,
            "supervisor stopped past its lease": self._stop_supervisor,
            "queue emptied and rescheduled": self._empty,
            "job cancelled and rescheduled": self._cancel,
            DISK: self._fill_disk,
            "task database killed or restarted": self._restart_database,
            CLOCK: self._set_clock,
            "network slow": self._slow,
            "network swallows": self._swallow,
            "network cut": self._cut,
            "RabbitMQ killed or restarted": self._restart_rabbitmq,
            "RabbitMQ queues purged": self._purge,
        }

    def inject(self, name: str) -> bool:
        """Do one thing; wait a while for what it needs, such as a busy worker. Return whether it was done."""
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            try:
                struck = self.kinds[name]()
            except EASError:  # a fault before this one still lasts
                struck = False
            if struck:
                self.struck[name] += 1
                return True
            self.cast.mend()
            time.sleep(0.05)
        return False

    def end(self) -> None:
        """Wait for faults that last, and put right what does not end by itself."""
        for timer in self._timers:
            timer.join()
        for each in self.scene.clocks:
            each.set(0.0)

    def _after(self, seconds: float, work: Callable[[], None]) -> bool:
        self._timers = [timer for timer in self._timers if timer.is_alive()]
        self._timers.append(threading.Timer(seconds, work))
        self._timers[-1].daemon = True
        self._timers[-1].start()
        return True

    # -- processes -----------------------------------------------------------------------------

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

    def _supervisor(self) -> int | None:
        """Return a supervisor that has had the time to take a job over."""
        pid = self.rng.choice(self.cast.supervisors).pid
        with contextlib.suppress(psutil.NoSuchProcess):
            if time.time() - psutil.Process(pid).create_time() > LEASE:
                return pid
        return None

    def _kill_supervisor(self) -> bool:
        pid = self._supervisor()
        return pid is not None and _send(pid, signal.SIGKILL)

    def _stop_worker(self) -> bool:
        pid = self._busy_worker()
        return pid is not None and self._stop(pid)

    def _stop_supervisor(self) -> bool:
        pid = self._supervisor()
        return pid is not None and self._stop(pid)

    def _stop(self, pid: int) -> bool:
        """Stop a process until well past its lease, while other things go on."""
        if pid in self._stopped or not _send(pid, signal.SIGSTOP):
            return False
        self._stopped.add(pid)

        def resume() -> None:
            _send(pid, signal.SIGCONT)
            self._stopped.discard(pid)

        return self._after(LEASE * self.rng.uniform(1.3, 2.0), resume)

    # -- operators -----------------------------------------------------------------------------

    def _queue(self) -> JobQueue:
        store = AttemptClaims(self.database)
        return SQLQueue(store) if self.scene.queue == "sql" else RabbitMQQueue(self.scene.queue_url, store)

    def _empty(self) -> bool:
        with contextlib.closing(self._queue()) as queue:
            taken = empty_queue(self.database, queue)
            time.sleep(self.rng.uniform(0.0, 1.0))
            reschedule(self.database, queue)
        return bool(taken)

    def _cancel(self) -> bool:
        running = [job.id for job in self.database.fetch(unfinished_jobs.unfinished) if job.state == "running"]
        if not running:
            return False
        with contextlib.closing(self._queue()) as queue:
            job = self.rng.choice(running)
            try:
                stopped = cancel(self.database, queue, job).tasks
            except RequestError:
                return False  # it was over at that very moment
            time.sleep(self.rng.uniform(0.0, 1.0))
            reschedule(self.database, queue, job_id=job)
        return stopped > 0

    # -- services ------------------------------------------------------------------------------

    def _restart_database(self) -> bool:
        mariadb.stop(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
        mariadb.start(service_state.load_or_create())
        return True

    def _restart_rabbitmq(self) -> bool:
        rabbitmq.stop(self.rng.choice([signal.SIGKILL, signal.SIGTERM]), with_epmd=False)
        rabbitmq.start(service_state.load_or_create())
        return True

    def _purge(self) -> bool:
        try:
            connection = pika.BlockingConnection(pika.URLParameters(self.scene.queue_url))
            channel = connection.channel()
            for name in TASK_TYPES:
                channel.queue_purge(f"eas.{name}")
            connection.close()
        except pika.exceptions.AMQPError:
            return False  # no queue yet
        return True

    # -- network, disk, clocks -----------------------------------------------------------------

    def _slow(self) -> bool:
        link = self.rng.choice(self.scene.links)
        link.slow(self.rng.uniform(0.02, 0.3))
        return self._after(self.rng.uniform(1.0, 3.0), link.mend)

    def _swallow(self) -> bool:
        link = self.rng.choice(self.scene.links)
        link.drop()
        return self._after(self.rng.uniform(0.3, 1.5 * LEASE), link.mend)

    def _cut(self) -> bool:
        link = self.rng.choice(self.scene.links)
        link.cut()
        return self._after(self.rng.uniform(0.1, 1.5 * LEASE), link.mend)

    def _fill_disk(self) -> bool:
        self.scene.disk.fill()
        return self._after(self.rng.uniform(0.5, 3.0), self.scene.disk.free)

    def _set_clock(self) -> bool:
        """Set the clock of one host, which stays so until it is set again: that of the other differs."""
        self.rng.choice(self.scene.clocks).set(self.rng.choice([-HOUR, 0.0, HOUR]) + self.rng.uniform(-60, 60))
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
