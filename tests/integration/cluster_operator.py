"""Someone at a terminal with a cluster: runs `eas` commands over HTTP against `fake_cluster`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from eas.cli import main
from infra.deploy import manifests
from tests.integration.fake_cluster import FakeCluster, kubeconfig, serving

Object = dict[str, Any]
CORE = {"mysql", "postgres", "rabbitmq", "prefect-server", "prefect-worker", "supervisor", "reconciler", "eas-web"}


@dataclass
class Operator:
    """Someone at a terminal with a cluster."""

    cluster: FakeCluster
    folder: Path
    capture: pytest.CaptureFixture[str]

    def eas(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        said = self.capture.readouterr()
        assert (ended.value.code or 0) == code, f"{said.out}\n{said.err}"
        assert "Traceback" not in said.err
        return said.out, said.err


RENDER = cache(manifests.render)


@contextmanager
def at_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(manifests, "render", RENDER)  # kustomize takes a second for each overlay
    with serving() as (cluster, url):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", url)))
        yield Operator(cluster, tmp_path, capsys)


def passwords(cluster: FakeCluster) -> set[str]:
    found = {value for each in cluster.all_of("Secret").values() for value in each["stringData"].values()}
    return {value for value in found if value != "sql:"}


def replicas(cluster: FakeCluster) -> dict[str, int]:
    workloads = cluster.all_of("Deployment") | cluster.all_of("StatefulSet")
    return {name: each["spec"]["replicas"] for name, each in workloads.items()}


def add_worker(cluster: FakeCluster, name: str, flow: str = "work") -> None:
    labels = {
        "eas-role": "job",
        "job-name": name,
        "prefect.io/flow-name": flow,
        "prefect.io/flow-run-id": f"run-{name}",
    }
    cluster.add_pod(f"{name}-x", labels, image="localhost/eas-tls:7")
    cluster.add_job(name, f"run-{name}")
