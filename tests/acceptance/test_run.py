"""``eas run`` as its users call it, against a real Prefect server, with real workers."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.acceptance.conftest import Home
from tests.acceptance.prefect_server import ask_prefect
from tests.processes import LIMIT, PATIENCE, ROOT, wait_for

DEMOS = ROOT / "demo_jobs"
FEATURES = DEMOS / "feature_tests"

pytestmark = pytest.mark.timeout(LIMIT)


def loop(values: int, *body: dict[str, Any]) -> dict[str, Any]:
    return {"task": "execution_for_loop", "parameter": "i", "values": list(range(values)), "task_list": list(body)}


def flow_run(server: str, name: str) -> dict[str, Any]:
    """Return the newest flow run of a name."""
    body = {"sort": "START_TIME_DESC", "flow_runs": {"name": {"any_": [name]}}, "limit": 1}
    (found,) = ask_prefect(server, "/flow_runs/filter", body)
    return dict(found)


def task_runs(server: str, run: dict[str, Any], expected: int) -> list[dict[str, Any]]:
    """Return a flow run's task runs: the server records them a moment after they ended."""
    body = {"flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 200}

    def final() -> list[dict[str, Any]]:
        found = list(ask_prefect(server, "/task_runs/filter", body))
        ended = all(each["state_type"] in ("COMPLETED", "FAILED") for each in found)
        return found if len(found) == expected and ended else []

    return list(wait_for(final, f"{expected} ended task runs"))


def test_a_run_with_failures_names_them(home: Home, prefect_server: str) -> None:
    done = home.eas("run", FEATURES / "fails_on_purpose.json", "--workers", "2", code=1)
    text = " ".join(done.stdout.split())
    assert "failed: task 2, error:" in text
    assert "failed: task 3, synthesis_batman: specs.eccentricity" in text
    assert "blocked: task 4, verify: blocked by synthesis_batman (task 3), which failed" in text

    run = flow_run(prefect_server, "fails_on_purpose (job 1)")
    assert run["state_type"] == "FAILED"
    assert run["state"]["message"] == "job 1: 3 of 7 tasks done; 2 failed, 2 blocked"
    runs = {each["name"]: each for each in task_runs(prefect_server, run, 11)}
    assert runs["error"]["state_type"] == "FAILED"
    assert "always fails" in runs["error"]["state"]["message"]
    assert runs["verify"]["state"]["message"] == "blocked by synthesis_batman (task 3), which failed"
    upstream = {each["id"] for each in runs["verify"]["task_inputs"]["wait_for"]}
    assert upstream == {runs["synthesis_batman"]["id"]}

    body = {"logs": {"task_run_id": {"any_": [runs["error"]["id"]]}}}
    wait_for(
        lambda: any("Traceback" in each["message"] for each in ask_prefect(prefect_server, "/logs/filter", body)),
        "the task's traceback among the task run's logs",
    )


def test_every_leaf_is_a_named_task_run_with_its_dependencies(home: Home, prefect_server: str) -> None:
    chain = home.chain(
        loop(
            2,
            {
                "task": "synthesis_batman",
                "outputs": {"lightcurve": "'{i}.lc'.format(**metadata)"},
                "specs": {"duration": 2, "sampling_cadence": 600},
            },
            {"task": "verify", "inputs": {"lightcurve": "'{i}.lc'.format(**metadata)"}},
        ),
        name="named",
    )
    home.eas("run", chain, "--workers", "1")
    runs = {each["name"]: each for each in task_runs(prefect_server, flow_run(prefect_server, "named (job 1)"), 7)}
    assert set(runs) == {
        "execution_for_loop (2 values)",
        "execution_chain [i=0]",
        "execution_chain [i=1]",
        "synthesis_batman [i=0]",
        "synthesis_batman [i=1]",
        "verify [i=0]",
        "verify [i=1]",
    }
    for index in (0, 1):
        (edge,) = runs[f"verify [i={index}]"]["task_inputs"]["wait_for"]
        assert edge["id"] == runs[f"synthesis_batman [i={index}]"]["id"]


def test_above_the_limit_one_task_run_stands_for_a_batch(home: Home, prefect_server: str) -> None:
    chain = home.chain(loop(100, {"task": "null", "duration": 0}), name="batched")
    home.eas("run", chain, "--max-task-runs", "10", "--workers", "1")
    run = flow_run(prefect_server, "batched (job 1)")
    runs = task_runs(prefect_server, run, 6)
    batches = [each for each in runs if "batch" in each["name"]]
    assert [each["state"]["message"] for each in batches] == ["20 tasks: 20 done"] * 5


@pytest.mark.parametrize(
    "name", ["if_then_else", "while_loop", "transit_injection", "cross_job_dependency_maker+cross_job_dependency"]
)
def test_feature_tests_run(home: Home, name: str) -> None:
    for part in name.split("+"):
        done = home.eas("run", FEATURES / f"{part}.json", "--json")
        assert json.loads(done.stdout)["state"] == "done"


def test_a_killed_run_goes_on_where_it_was(home: Home) -> None:
    chain = home.chain(loop(60, {"task": "null", "duration": 0.2}), name="killed")
    process = home.start("run", chain, "--workers", "2")
    wait_for(lambda: home.rows("SELECT 1 FROM tasks WHERE task_type='null' AND state='done' LIMIT 1"), "a first task")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done_before = {row.id for row in home.rows("SELECT id FROM tasks WHERE task_type='null' AND state='done'")}
    assert 0 < len(done_before) < 60
    wait_for(lambda: not home.workers(), "orphaned workers to leave")

    # Nobody has to wait for the lease of a driver whose process is seen to be gone.
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
    output, _ = process.communicate(timeout=PATIENCE)
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
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "eas run --resume 1" in output
    assert "Traceback" not in output
    done = home.eas("run", "--resume", "1", "--json")
    assert json.loads(done.stdout)["state"] == "done"
