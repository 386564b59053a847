"""Empty tasks a second: our workers against raw SQL and Celery, in one run.

``python -m benchmarks.queue_throughput [--tasks N] [--celery PYTHON]``. Ours record attempt, QC,
timing, result and log durably. *Raw* is PyMySQL alone: ``SELECT ... FOR UPDATE SKIP LOCKED``, update,
commit; update, commit. Celery runs no-op tasks with RabbitMQ and a MySQL result backend, where
``--celery`` names a Python that has celery, sqlalchemy and pymysql.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pymysql
from sqlalchemy.engine import make_url

from benchmarks.queue_setup import Bench, bench, report
from infra.services import mariadb, places


def raw(count: int) -> float:
    """Return rows a second of a claim and a finish with a commit each."""
    with bench("mariadb+sql") as place:
        url = make_url(place.database.url)
        connection = mariadb.connect(places.make())
        connection.autocommit(False)
        cursor = connection.cursor()
        cursor.execute(f"USE `{url.database}`")
        cursor.execute(
            "CREATE TABLE raw (id INT PRIMARY KEY AUTO_INCREMENT, state VARCHAR(10) NOT NULL, worker VARCHAR(40), "
            "started DOUBLE, ended DOUBLE, INDEX (state, id)) ENGINE=InnoDB"
        )
        cursor.executemany("INSERT INTO raw (state) VALUES (%s)", [("queued",)] * count)
        connection.commit()
        began = time.monotonic()
        for _ in range(count):
            _claim_and_finish(connection, cursor)
        seconds = time.monotonic() - began
        connection.close()
    return count / seconds


def _claim_and_finish(connection: pymysql.Connection[pymysql.cursors.Cursor], cursor: pymysql.cursors.Cursor) -> None:
    cursor.execute("SELECT id FROM raw WHERE state='queued' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED")
    row = cursor.fetchone()
    assert row is not None
    cursor.execute("UPDATE raw SET state='running', worker='w', started=%s WHERE id=%s", (time.time(), row[0]))
    connection.commit()
    cursor.execute("UPDATE raw SET state='done', ended=%s WHERE id=%s AND worker='w'", (time.time(), row[0]))
    connection.commit()


def ours(name: str, count: int, workers: int) -> float:
    """Return tasks a second through worker processes."""
    with bench(name) as place:
        place.queue_null_tasks(count)
        seconds = place.work_off(workers)
        assert place.states() == {"done": count}, place.states()
    return count / seconds


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


def celery(python: str, count: int) -> float:
    """Return no-op tasks a second through one Celery worker process."""
    with bench("mariadb+rabbitmq") as place:
        module = place.folder / "celery_noop.py"
        module.write_text(CELERY)
        environment = os.environ | {"BROKER": place.queue_url, "BACKEND": f"db+{place.database.url}"}
        subprocess.run([python, module.name, str(count)], cwd=place.folder, env=environment, check=True)
        worker = subprocess.Popen(
            [python, "-m", "celery", "-A", "celery_noop", "worker", "--concurrency", "1", "--loglevel", "ERROR"],
            cwd=place.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return count / _celery_seconds(place, count)
        finally:
            worker.terminate()
            worker.wait()


CELERY_DONE = "SELECT COUNT(*) FROM celery_taskmeta WHERE status='SUCCESS'"


def _celery_seconds(place: Bench, count: int) -> float:
    """Wait until all results are in SQL; return the seconds since the first one was seen."""
    began, first = 0.0, 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            done = place.database.fetch(lambda c: int(c.exec_driver_sql(CELERY_DONE).scalar() or 0))
        except Exception:  # the worker makes the table
            done = 0
        if done and not began:
            began, first = time.monotonic(), done
        if done >= count:
            return (time.monotonic() - began) * count / (count - first)
        time.sleep(0.05)
    raise TimeoutError("Celery did not come to an end")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--celery", help="a Python interpreter with celery, sqlalchemy and pymysql")
    options = parser.parse_args()
    count = options.tasks
    rates: list[tuple[str, int, float]] = [("raw PyMySQL, two commits a row", 1, raw(count))]
    if options.celery and Path(options.celery).exists():
        rates.append(("Celery: RabbitMQ, MySQL results", 1, celery(options.celery, count)))
    for name in ("mariadb+sql", "mariadb+rabbitmq", "sqlite+sql"):
        for workers in (1, 4):
            rates.append((f"eas {name}", workers, ours(name, count, workers)))
            print(rates[-1], file=sys.stderr)
    base = rates[0][2]
    rows = [(what, workers, round(rate, 1), round(rate / base, 2)) for what, workers, rate in rates]
    report("queue_throughput", ["what", "workers", "tasks a second", "of raw"], rows)


if __name__ == "__main__":
    main()
