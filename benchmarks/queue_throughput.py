"""Empty tasks per second: EAS compared to plain SQL statements, Celery and Dramatiq in the same run.

``python -m benchmarks.queue_throughput [--tasks N] [--times N]``. EAS records attempt, QC, timing, result and log
durably. The reference is PyMySQL alone: ``SELECT ... FOR UPDATE SKIP LOCKED``, update, commit; update, commit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import pymysql
from sqlalchemy.engine import make_url

from benchmarks import peers
from benchmarks.common import Result
from benchmarks.queue_setup import report, temporary_queue
from infra.services import mariadb, service_state

SQL_ONLY = "PyMySQL alone: claim, commit, finish, commit"


def raw(count: int) -> float:
    """Return the rows per second of two transactions each: one to claim, one to finish."""
    with temporary_queue("mariadb+sql") as place:
        url = make_url(place.database.url)
        connection = mariadb.connect(service_state.load_or_create())
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
    """Return the tasks per second of ``workers`` worker processes."""
    with temporary_queue(name) as place:
        place.queue_null_tasks(count)
        seconds = place.run_all_queued(workers)
        assert place.states() == {"done": count}, place.states()
    return count / seconds


def throughput(count: int, times: int) -> dict[tuple[str, int], list[float]]:
    """Return the rates by system and number of workers; each round of ``times`` measures all of them once."""
    kinds: dict[tuple[str, int], Callable[[], float]] = {
        (SQL_ONLY, 1): lambda: raw(count),
        ("Celery: RabbitMQ, results in MariaDB", 1): lambda: peers.celery(count),
        ("Dramatiq: RabbitMQ, results in Redis", 1): lambda: peers.dramatiq(count),
    }
    for name in ("mariadb+sql", "mariadb+rabbitmq", "sqlite+sql"):
        for workers in (1, 2):
            kinds[f"EAS {name}", workers] = partial(ours, name, count, workers)
    found: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
    for _ in range(times):
        for kind, measure in kinds.items():
            found[kind].append(measure())
            print(*kind, round(found[kind][-1]), file=sys.stderr)
    return found


def run() -> list[Result]:
    """Return the medians of three rounds."""
    found = throughput(6_000, 3)
    medians = {kind: statistics.median(rates) for kind, rates in found.items()}
    return [
        Result(
            f"empty tasks, {what}, {workers} worker{'s'[: workers - 1]}",
            rate,
            medians[what, 1] if workers > 1 else medians[SQL_ONLY, 1],
            "tasks/s",
            _aim(what, workers),
            tuple(found[what, workers]),
        )
        for (what, workers), rate in medians.items()
    ]


def _aim(what: str, workers: int) -> str:
    if not what.startswith("EAS"):
        return ""
    if workers > 1:
        return "at least 1.6 times one worker"
    return "at least 2.5 times raw" if "mariadb" in what else ""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    found = throughput(options.tasks, options.times)
    base = statistics.median(found[SQL_ONLY, 1])
    medians = [(what, workers, statistics.median(rates)) for (what, workers), rates in found.items()]
    rows = [(what, workers, round(rate, 1), round(rate / base, 2)) for what, workers, rate in medians]
    report("queue_throughput", ["what", "workers", "tasks a second", "of raw"], rows)


if __name__ == "__main__":
    main()
