"""``eas run`` where no Prefect server is configured: it starts one, and the next run uses that."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.conftest import Home
from tests.acceptance.prefect_server import ask_prefect
from tests.processes import MAX_TIMEOUT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)


def test_a_run_starts_a_server_that_the_next_run_uses(bare_home: Home) -> None:
    bare_home.environment |= {"EAS_SERVER_IDLE": "600", "PREFECT_HOME": str(bare_home.folder / "nothing")}
    assert "no Prefect server is running" in bare_home.eas("server", "status", code=1).stdout
    chain = bare_home.chain({"task": "null", "duration": 0}, name="kept")
    try:
        first = bare_home.eas("run", chain, "--workers", "1")
        assert "starting a local Prefect server" in first.stdout
        status = json.loads(bare_home.eas("server", "status", "--json").stdout)
        assert (status["running"], status["in_use"]) == (True, False)
        assert status["url"].removesuffix("/api") in first.stdout

        second = bare_home.eas("run", chain, "--workers", "1")
        assert "starting a local Prefect server" not in second.stdout
        assert status["url"].removesuffix("/api") in second.stdout
        assert json.loads(bare_home.eas("server", "status", "--json").stdout) == status

        # All is recorded when a run ends, with the times that SQL has.
        for job in (1, 2):
            body = {"flow_runs": {"name": {"any_": [f"kept (job {job})"]}}}
            (run,) = ask_prefect(status["url"], "/flow_runs/filter", body)
            assert run["state_type"] == "COMPLETED"
            (task,) = ask_prefect(status["url"], "/task_runs/filter", body)
            assert task["state_type"] == "COMPLETED"
            assert task["start_time"] < run["start_time"]
    finally:
        stopped = bare_home.eas("server", "stop")
    assert status["url"].removesuffix("/api") in stopped.stdout
    assert not json.loads(bare_home.eas("server", "status", "--json", code=1).stdout)["running"]


def test_an_interrupted_run_whose_server_has_not_come_up_can_be_resumed(bare_home: Home) -> None:
    bare_home.environment["PREFECT_HOME"] = str(bare_home.folder / "nothing")
    chain = bare_home.chain({"task": "null", "duration": 60}, name="early")
    process = bare_home.start("run", chain, "--workers", "1")
    # A task runs before Prefect is there.
    wait_for(lambda: bare_home.rows("SELECT 1 FROM attempts WHERE state='running'"), "a running task")
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "eas run --resume 1" in output
    assert "Traceback" not in output
    assert not bare_home.workers()
    assert bare_home.rows("SELECT driver FROM jobs")[0].driver is None
