"""The report flows on a Prefect server of their own: files and artifacts."""

from __future__ import annotations

import importlib

import pytest
from prefect.client.orchestration import get_client

from benchmarks.database_generator import generate

FLOWS = ("progress", "timings", "pass_fail", "errors", "job_tree", "queue")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_each_flow_writes_files_and_publishes_artifacts(server, tmp_path, monkeypatch):
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    generate(tmp_path / "eas.sqlite", attempts=200, jobs=1).close()
    for name in FLOWS:
        flow = getattr(importlib.import_module(f"flows.report_{name}"), f"report_{name}")
        assert flow.name == f"report-{name.replace('_', '-')}"
        assert all("description" in each for each in flow.parameters.properties.values())
        path = flow()
        assert path.startswith(str(tmp_path / "reports"))
        assert path.endswith(("_latest.csv", "_latest.txt"))
    progress = importlib.import_module("flows.report_progress").report_progress
    assert progress(job_name="sweep_1").endswith("progress_sweep_1_latest.csv")
    with get_client(sync_client=True) as client:
        artifacts = client.read_latest_artifacts(limit=200)
    keys = {each.key for each in artifacts}
    assert {f"report-{name.replace('_', '-')}-text" for name in FLOWS} <= keys
    assert "report-progress-table" in keys
    assert any("data:image/png;base64," in str(each.data) for each in artifacts)
