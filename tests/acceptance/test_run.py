"""``eas run`` as its users call it, against a real Prefect server, with real workers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.acceptance.conftest import Home, loop
from tests.acceptance.prefect_server import ask_prefect
from tests.processes import MAX_TIMEOUT, ROOT, wait_for

DEMOS = ROOT / "demo_jobs"
FEATURES = DEMOS / "feature_tests"

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)


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


def by_name(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return task runs by their names, without the ids of their tasks, which all of them end with."""
    found = {re.fullmatch(r"(.+) \(task \d+\)", each["name"]): each for each in runs}
    return {name[1]: each for name, each in found.items() if name is not None}


def test_a_run_with_failures_names_them(home: Home, prefect_server: str) -> None:
    done = home.eas("run", FEATURES / "fails_on_purpose.json", "--workers", "2", code=1)
    text = " ".join(done.stdout.split())
    assert 'failed: task 2, error "always_raises":' in text
    assert 'failed: task 3, synthesis_batman "impossible_orbit": specs.eccentricity' in text
    why = 'blocked by synthesis_batman "impossible_orbit" (task 3), which failed'
    assert f'blocked: task 4, verify "blocked_verification": {why}' in text

    run = flow_run(prefect_server, "fails_on_purpose (job 1)")
    assert run["state_type"] == "FAILED"
    assert run["state"]["message"] == "job 1: 3 of 7 tasks done; 2 failed, 2 blocked"
    runs = by_name(task_runs(prefect_server, run, 11))
    failed, blocked = runs['error "always_raises"'], runs['verify "blocked_verification"']
    assert failed["state_type"] == "FAILED"
    assert "always fails" in failed["state"]["message"]
    assert (blocked["state_name"], blocked["state"]["message"]) == ("Blocked", why)
    upstream = {each["id"] for each in blocked["task_inputs"]["wait_for"]}
    assert upstream == {runs['synthesis_batman "impossible_orbit"']["id"]}

    body = {"logs": {"task_run_id": {"any_": [failed["id"]]}}}
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
    runs = by_name(task_runs(prefect_server, flow_run(prefect_server, "named (job 1)"), 7))
    assert set(runs) == {
        "execution_for_loop, 2 values",
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
