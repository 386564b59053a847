"""``prefect.yaml`` on a real server with a real process worker."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import ROOT, Home, ask_prefect, wait_for

PREFECT = [sys.executable, "-m", "prefect"]

pytestmark = pytest.mark.timeout(400)

DEPLOYED = {
    "run-chain/eas",
    "report-progress/eas",
    "report-pass-fail/eas",
    "report-timings/eas",
    "report-errors/eas",
    "report-job-tree/eas",
    "report-queue/eas",
}


def prefect(home: Home, *arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run(
        [*PREFECT, *arguments], cwd=folder, env=home.environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def deployments(server: str) -> dict[str, dict[str, Any]]:
    flows = {each["id"]: each["name"] for each in ask_prefect(server, "/flows/filter", {})}
    found = ask_prefect(server, "/deployments/filter", {})
    return {f"{flows[each['flow_id']]}/{each['name']}": each for each in found}


def test_deploy_twice_and_run_a_chain_and_a_report(home: Home, prefect_server: str) -> None:
    prefect(home, "work-pool", "create", "eas-local", "--type", "process", "--overwrite")
    for _ in range(2):
        prefect(home, "--no-prompt", "deploy", "--all")
    there = deployments(prefect_server)
    assert set(there) == DEPLOYED
    assert all(each["enforce_parameter_schema"] for each in there.values())
    scheduled = {name for name, each in there.items() if each["schedules"]}
    assert {"report-progress/eas", "report-pass-fail/eas", "report-timings/eas"} <= scheduled

    home.environment["EAS_HOME"] = str(home.folder / "eas-data")
    worker = subprocess.Popen(
        [*PREFECT, "worker", "start", "--pool", "eas-local", "--work-queue", "control", "--work-queue", "reports"],
        cwd=home.folder, env=home.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        chain = home.chain({"task": "null", "duration": 0}, name="deployed")
        shutil.copy(chain, home.folder / "chain.json")
        parameters = json.dumps({"chain": str(chain), "workers": 1})
        prefect(home, "deployment", "run", "run-chain/eas", "--params", parameters)
        assert ended(prefect_server, "deployed")["state"]["message"] == "job 1: 1 of 1 tasks done"
        prefect(home, "deployment", "run", "report-progress/eas")
        latest = home.folder / "eas-data" / "reports" / "progress_latest.csv"
        wait_for(latest.exists, "the report", 120)
        wait_for(
            lambda: ask_prefect(
                prefect_server, "/artifacts/latest/filter", {"artifacts": {"key": {"like_": "report-progress"}}}
            ),
            "the report's artifact",
        )
    finally:
        worker.terminate()
        worker.wait(30)


def ended(server: str, name: str) -> dict[str, Any]:
    body = {"flow_runs": {"name": {"any_": [name]}}}

    def final() -> dict[str, Any] | None:
        runs = ask_prefect(server, "/flow_runs/filter", body)
        return next((run for run in runs if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")), None)

    return dict(wait_for(final, f"the flow run {name} to end", 200))
