"""A worker that is stopped for longer than its lease and resumes: only a second worker runs beside it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys

import psutil
import pytest

from tests.acceptance.conftest import Home
from tests.processes import MAX_TIMEOUT, TIMEOUT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

QUEUE_AND_LEAVE = """
from eas.app import App
with App.load() as app:
    orchestrator = app.orchestrator(1)
    orchestrator.open()
    orchestrator.step()
    orchestrator.close()
"""


def stop_outside_a_transaction(process: subprocess.Popen[str], home: Home) -> None:
    """Stop a process; not while it holds sqlite's write lock, which no other process can take from it."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "the process to stop")
        if not home.database_url.startswith("sqlite"):
            return
        connection = sqlite3.connect(home.database_url.removeprefix("sqlite:///"), timeout=0.1)
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError:
            os.kill(process.pid, signal.SIGCONT)
        finally:
            connection.close()


def test_a_worker_that_wakes_up_late_cannot_get_its_result_accepted(plain_home: Home) -> None:
    plain_home.environment["EAS_LEASE"] = "4"
    plain_home.eas("submit", plain_home.chain({"task": "null", "duration": 4}))
    subprocess.run(
        [sys.executable, "-c", QUEUE_AND_LEAVE], cwd=plain_home.folder, env=plain_home.environment, check=True
    )
    sleeper = plain_home.start("worker", "--type", "eas-base")
    wait_for(lambda: plain_home.rows("SELECT 1 FROM attempts WHERE state='running'"), "a running task")
    stop_outside_a_transaction(sleeper, plain_home)
    other = plain_home.start("worker", "--type", "eas-base")
    try:
        # No orchestrator is alive: the second worker finds the stalled attempt and runs its successor.
        wait_for(lambda: plain_home.rows("SELECT 1 FROM attempts WHERE state='done'"), "the second attempt")
        before = plain_home.rows("SELECT id, state, worker_id, ended_at FROM attempts ORDER BY number")
        assert [row.state for row in before] == ["stalled", "done"]
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.terminate()
        late, _ = sleeper.communicate(timeout=TIMEOUT)
        other.terminate()
        other.communicate(timeout=TIMEOUT)
    assert "exited: 0 done, 0 failed" in late
    assert plain_home.rows("SELECT id, state, worker_id, ended_at FROM attempts ORDER BY number") == before
    accepted = plain_home.rows("SELECT state, accepted_attempt_id AS attempt FROM tasks WHERE task_type='null'")
    assert [tuple(row) for row in accepted] == [("done", before[1].id)]
    assert [row.n for row in plain_home.rows("SELECT count(*) AS n FROM attempt_results")] == [2]
