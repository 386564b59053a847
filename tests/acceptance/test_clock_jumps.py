"""The clock of a machine is set by an hour, forward and back, in the middle of a run (libfaketime)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from tests.acceptance.conftest import Home, loop
from tests.clock import Clock
from tests.processes import MAX_TIMEOUT, TIMEOUT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

HOUR = 3600.0
TASKS = 12
ATTEMPTS = "SELECT task_id, number, state FROM attempts ORDER BY task_id, number"


@pytest.fixture
def clock(plain_home: Home) -> Clock:
    clock = Clock(plain_home.folder / "clock")
    if clock.library is None:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    plain_home.environment |= clock.environment()
    return clock


def ended(home: Home) -> int:
    return sum(row.state == "done" for row in home.rows(ATTEMPTS))


def set_while_it_runs(home: Home, clock: Clock, steps: Sequence[float], process: subprocess.Popen[str]) -> str:
    """Set the clock, each time once some tasks have ended and others run; return what the process printed."""
    try:
        for number, step in enumerate(steps):
            enough = (number + 1) * TASKS // (len(steps) + 2)
            wait_for(lambda enough=enough: ended(home) >= enough or process.poll() is not None, f"{enough} tasks")
            if process.poll() is not None:
                pytest.fail(f"the process ended with {process.returncode}: {process.communicate()[0]}")
            assert ended(home) < TASKS, "the run was over too early"
            clock.set(step)
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    return output


def test_a_supervisor_and_its_workers(plain_home: Home, clock: Clock) -> None:
    """On sqlite, a step forward beyond the lease may have attempts run again, and one back delays these."""
    server = not plain_home.database_url.startswith("sqlite")
    plain_home.eas("submit", plain_home.chain(loop(TASKS, {"task": "null", "duration": 1})))
    process = plain_home.start("schedule", "--workers", "2", "--until-idle", "1")
    set_while_it_runs(plain_home, clock, [HOUR, -HOUR, 0.0] if server else [HOUR], process)
    rows = [tuple(row) for row in plain_home.rows(ATTEMPTS)]
    assert sum(state == "done" for _, _, state in rows) == TASKS == len({task for task, _, _ in rows})
    assert not server or rows == [(task, 1, "done") for task, _, _ in rows], "nothing ran twice"


@pytest.mark.parametrize("combination", ["mariadb+sql"], indirect=True)
def test_a_run(home: Home, clock: Clock) -> None:
    chain = home.chain(loop(TASKS, {"task": "null", "duration": 1}))
    set_while_it_runs(home, clock, [HOUR, -HOUR, 0.0], home.start("run", chain, "--workers", "2"))
    assert [tuple(row)[1:] for row in home.rows(ATTEMPTS)] == [(1, "done")] * TASKS
