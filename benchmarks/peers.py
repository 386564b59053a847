"""Rates of Celery and Dramatiq on the same services: empty tasks per second with stored results.

Both are installed from ``requirements-peers.txt`` into the separate environment ``build/peers``. Dramatiq can store
results only in Redis or Memcached: a private Redis server is started on a socket (if it is missing, root installs
Debian's package).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.queue_setup import REPOSITORY, temporary_queue
from infra.services import processes

ENVIRONMENT = REPOSITORY / "build" / "peers"
LOCK = REPOSITORY / "requirements-peers.txt"
TIMEOUT = 120.0
"""Timeout for all tasks of one queue, and for the start of Redis [s]."""

CELERY = """
import os, sys
from celery import Celery
app = Celery("celery_noop", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)
@app.task
def nothing(): return 0
if __name__ == "__main__":
    for _ in range(int(sys.argv[1])): nothing.delay()
"""
CELERY_DONE = "SELECT COUNT(*) FROM celery_taskmeta WHERE status='SUCCESS'"

DRAMATIQ = """
import os, sys
import dramatiq, redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
broker = RabbitmqBroker(url=os.environ["BROKER"])
broker.add_middleware(Results(backend=RedisBackend(client=redis.Redis(unix_socket_path=os.environ["REDIS"]))))
dramatiq.set_broker(broker)
@dramatiq.actor(store_results=True)
def nothing(): return 0
if __name__ == "__main__":
    if sys.argv[1] == "count":
        print(redis.Redis(unix_socket_path=os.environ["REDIS"]).dbsize())
    else:
        for _ in range(int(sys.argv[1])): nothing.send()
"""


def python() -> str:
    """Return the Python of the environment with the other queues; create the environment if needed."""
    interpreter = ENVIRONMENT / "bin" / "python"
    mark = ENVIRONMENT / LOCK.name
    if not mark.exists() or mark.read_bytes() != LOCK.read_bytes():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", str(ENVIRONMENT)], check=True)
        sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(interpreter), str(LOCK)]
        subprocess.run(sync, check=True)
        mark.write_bytes(LOCK.read_bytes())
    return str(interpreter)


@contextmanager
def _worker(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def _rate(count: int, done: Callable[[], int]) -> float:
    """Return tasks per second between the first observed results and the last one."""
    began, first = 0.0, 0
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        number = done()
        if number and not began:
            began, first = time.monotonic(), number
        if number >= count:
            return (count - first) / (time.monotonic() - began)
        time.sleep(0.05)
    raise TimeoutError(f"{done()} of {count} tasks were done after {TIMEOUT:.0f} s")


def celery(count: int) -> float:
    """Return empty tasks per second of one Celery worker process: RabbitMQ, results in MariaDB."""
    interpreter = python()
    with temporary_queue("mariadb+rabbitmq") as place:
        (place.folder / "celery_noop.py").write_text(CELERY)
        environment = os.environ | {"BROKER": place.queue_url, "BACKEND": f"db+{place.database.url}"}
        send = [interpreter, "celery_noop.py", str(count)]
        subprocess.run(send, cwd=place.folder, env=environment, check=True)

        def done() -> int:
            try:
                return int(place.database.fetch(lambda c: c.exec_driver_sql(CELERY_DONE).scalar() or 0))
            except Exception:  # the worker has not created the table yet
                return 0

        options = ["-A", "celery_noop", "worker", "--concurrency", "1", "--loglevel", "ERROR"]
        with _worker([interpreter, "-m", "celery", *options], place.folder, environment):
            return _rate(count, done)


def dramatiq(count: int) -> float:
    """Return empty tasks per second of one Dramatiq worker thread: RabbitMQ, results in Redis without persistence."""
    interpreter = python()
    with temporary_queue("mariadb+rabbitmq") as place, _redis(place.folder) as socket:
        (place.folder / "dramatiq_noop.py").write_text(DRAMATIQ)
        environment = os.environ | {"BROKER": place.queue_url, "REDIS": str(socket)}
        send = [interpreter, "dramatiq_noop.py", str(count)]
        subprocess.run(send, cwd=place.folder, env=environment, check=True)
        ask = [str(Path(processes.require("redis-cli", "redis-tools"))), "-s", str(socket), "dbsize"]

        def done() -> int:
            return int(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)

        options = ["--processes", "1", "--threads", "1", "dramatiq_noop"]
        with _worker([interpreter, "-m", "dramatiq", *options], place.folder, environment):
            return _rate(count, done)


@contextmanager
def _redis(folder: Path) -> Iterator[Path]:
    program, socket = processes.require("redis-server", "redis-server"), folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    with _worker(command, folder, os.environ):
        deadline = time.monotonic() + TIMEOUT
        while not socket.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("redis-server did not start")
            time.sleep(0.05)
        yield socket
