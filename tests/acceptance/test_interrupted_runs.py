"""An ``eas run`` that is interrupted or killed, or whose worker is, goes on where it was."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.acceptance.conftest import Home, loop
from tests.processes import MAX_TIMEOUT, TIMEOUT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)


def test_a_killed_run_goes_on_where_it_was(home: Home) -> None:
    chain = home.chain(loop(60, {"task": "null", "duration": 0.2}), name="killed")
    process = home.start("run", chain, "--workers", "2")
    wait_for(lambda: home.rows("SELECT 1 FROM tasks WHERE task_type='null' AND state='done' LIMIT 1"), "a first task")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done_before = {row.id for row in home.rows("SELECT id FROM tasks WHERE task_type='null' AND state='done'")}
    assert 0 < len(done_before) < 60
    wait_for(lambda: not home.workers(), "orphaned workers to leave")

    # The lease of a driver whose process is known to be dead is released at once.
    done = home.eas("run", "--resume", "1", "--json")
    assert json.loads(done.stdout)["state"] == "done"
    attempts = home.rows("SELECT task_id, count(*) AS n, sum(state='done') AS good FROM attempts GROUP BY task_id")
    assert len(attempts) == 60
    assert all(row.good == 1 for row in attempts)
    assert all(row.n == 1 for row in attempts if row.task_id in done_before)


def test_a_killed_worker_is_replaced_and_its_task_run_again(home: Home) -> None:
    chain = home.chain(loop(6, {"task": "null", "duration": 1}), name="worker_killed")
    process = home.start("run", chain, "--workers", "2", "--json")
    busy = "SELECT w.pid FROM workers w JOIN attempts a ON a.worker_id = w.id WHERE a.state = 'running'"
    (first, *_) = wait_for(lambda: home.rows(busy), "a running task")
    os.kill(first.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    states = [row.state for row in home.rows("SELECT state FROM attempts")]
    assert states.count("done") == 6
    assert states.count("stalled") == 1


def test_resuming_what_is_over_says_how_it_ended(home: Home) -> None:
    chain = home.chain({"task": "null", "duration": 0}, name="over")
    home.eas("run", chain, "--workers", "1")
    assert "over" in home.eas("run", "--resume", "1").stdout


def test_ctrl_c_leaves_a_job_that_can_be_resumed(home: Home) -> None:
    chain = home.chain(loop(40, {"task": "null", "duration": 0.2}), name="interrupted")
    process = home.start("run", chain, "--workers", "1")
    wait_for(lambda: home.rows("SELECT 1 FROM tasks WHERE task_type='null' AND state='done' LIMIT 1"), "a first task")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "eas run --resume 1" in output
    assert "Traceback" not in output
    done = home.eas("run", "--resume", "1", "--json")
    assert json.loads(done.stdout)["state"] == "done"
