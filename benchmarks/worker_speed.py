"""Empty tasks per second of one worker on SQLite, compared to the bare SQL statements that claim and finish."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.common import Result, null_chain
from eas.app import App
from eas.chains.grammar import parse_chain
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.settings import Settings
from eas.worker.worker import WorkerOptions

COUNT = 5_000


def ours(settings: Settings, count: int = COUNT) -> float:
    """Return the tasks per second of one worker, which records attempts, QC, timings and results of queued tasks."""
    with App(settings) as app:
        chain = parse_chain(json.dumps(null_chain(count)), "bench.json", app.registry)
        orchestrator = app.orchestrator(submit(app.database, app.registry, chain, SubmitOptions()))
        orchestrator.open()
        while orchestrator.step():
            pass
        orchestrator.close()
        worker = app.worker(WorkerOptions(("eas-base",), idle_exit=0.2))
        began = time.perf_counter()
        thread = threading.Thread(target=worker.run)
        thread.start()
        thread.join()
        seconds = time.perf_counter() - began - 0.2
        assert worker.stats.done == count
        return count / seconds


def raw(folder: Path, count: int = COUNT) -> float:
    """Return the rows per second of one claim and one finish statement each in its own transaction."""
    connection = sqlite3.connect(folder / "raw.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, state TEXT, worker TEXT)")
    connection.execute("CREATE INDEX by_state ON items (state, id)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO items VALUES (?, 'queued', NULL)", [(number,) for number in range(count)])
    connection.execute("COMMIT")
    began = time.perf_counter()
    for _ in range(count):
        connection.execute("BEGIN IMMEDIATE")
        (found,) = connection.execute("SELECT id FROM items WHERE state='queued' ORDER BY id LIMIT 1").fetchone()
        connection.execute("UPDATE items SET state='running', worker='w' WHERE id=? AND state='queued'", (found,))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE items SET state='done' WHERE id=? AND state='running' AND worker='w'", (found,))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return count / seconds


def run() -> list[Result]:
    """Measure the reference, then the worker."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        reference = raw(Path(second))
        return [
            Result(
                "empty tasks through one worker, sqlite",
                ours(Settings(home=Path(first))),
                reference,
                "tasks/s",
                "at least 500/s",
            )
        ]
