"""What is remembered between `eas deploy` and the next, one operator's command at a time, and clusters as they are."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
import yaml
from kmock._internal.references import resource

from infra.deploy import manifests, operator_lease
from infra.deploy.client import Cluster
from tests.closable_proxy import proxy_to
from tests.integration.cluster_operator import CORE, Operator, add_worker, replicas
from tests.integration.fake_cluster import FakeCluster, decided, kubeconfig

Object = dict[str, Any]

# -- what is remembered ----------------------------------------------------------------------------


def record(cluster: FakeCluster) -> Object:
    return dict(json.loads(cluster.all_of("ConfigMap")["eas-deployment"]["data"]["deployment.json"]))


def images_of_workers(cluster: FakeCluster) -> dict[str, str]:
    return {name: each["image"] for name, each in decided(cluster)["workers"].items()}


def test_all_worker_types_move_to_the_new_release(operator: Operator) -> None:
    operator.eas("deploy", "--worker", "eas-worker-tls", "--worker", "eas-worker-qats", "--tag", "7")
    operator.eas("deploy", "--tag", "8", "--limit-to-system-fraction", "0.5")
    assert images_of_workers(operator.cluster) == {
        "eas-base": "localhost/eas-base:8",
        "eas-worker-qats": "localhost/eas-qats:8",
        "eas-worker-tls": "localhost/eas-tls:8",
    }
    assert decided(operator.cluster)["workers"]["eas-worker-tls"]["cpu"] == 4.0


def test_a_worker_type_is_removed(operator: Operator) -> None:
    operator.eas("deploy", "--worker", "eas-worker-tls", "--worker", "eas-worker-qats")
    operator.eas("deploy", "--without-worker", "eas-worker-tls")
    assert set(images_of_workers(operator.cluster)) == {"eas-base", "eas-worker-qats"}
    operator.eas("deploy")
    assert set(images_of_workers(operator.cluster)) == {"eas-base", "eas-worker-qats"}


def test_own_images_of_workers_are_remembered(operator: Operator) -> None:
    own = "r.example/mine:1"
    operator.eas("deploy", "--worker", "eas-worker-tls", "--worker-image", f"eas-worker-tls={own}")
    operator.eas("deploy", "--tag", "8")
    assert images_of_workers(operator.cluster)["eas-worker-tls"] == own


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--worker", "eas-worker-tls", "--without-worker", "eas-worker-tls"), "both added and removed"),
        (("--without-worker", "eas-base"), "eas-base cannot be removed"),
        (("--without-worker", "eas-worker-tsl"), "no worker type eas-worker-tsl"),
    ],
)
def test_worker_types_that_contradict_each_other(operator: Operator, arguments: tuple[str, ...], what: str) -> None:
    _, err = operator.eas("deploy", *arguments, code=2)
    assert what in err
    assert operator.cluster.changes() == []


def test_everything_is_remembered_without_rights_on_the_namespace(operator: Operator) -> None:
    operator.eas("deploy")
    operator.cluster.refused |= {("PATCH", "namespaces"), ("GET", "nodes")}
    operator.eas(
        "deploy", "--overlay", "production", "--tag", "7", "--queue-implementation", "sql", "--most-workers", "3"
    )
    operator.eas("deploy", "--worker", "eas-worker-tls")
    assert "backup" in operator.cluster.all_of("CronJob")
    assert images_of_workers(operator.cluster)["eas-worker-tls"] == "localhost/eas-tls:7"
    assert replicas(operator.cluster)["rabbitmq"] == 0
    assert most_workers(operator.cluster) == {"3"}


def test_images_by_digest_are_deployed_as_they_are(operator: Operator) -> None:
    digest = f"sha256:{'0123456789abcdef' * 4}"
    folder = operator.folder / "own"
    folder.mkdir()
    base = os.path.relpath(manifests.overlay_folder("production"), folder)
    own = {
        "resources": [base],
        "images": [{"name": "localhost/eas-base", "newName": "r.example/eas-base", "digest": digest}],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(own))
    image = f"r.example/eas-tls@{digest}"
    operator.eas(
        "deploy", "--overlay", str(folder), "--worker", "eas-worker-tls", "--worker-image", f"eas-worker-tls={image}"
    )
    assert decided(operator.cluster)["workers"]["eas-worker-tls"]["image"] == image
    (container,) = operator.cluster.all_of("Deployment")["reconciler"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"r.example/eas-base@{digest}"
    assert f"eas-base@{digest}"[:20] in operator.eas("status")[0]


def most_workers(cluster: FakeCluster) -> set[str]:
    pod = cluster.all_of("Deployment")["supervisor"]["spec"]["template"]["spec"]
    return {
        entry["value"] for each in pod["containers"] for entry in each["env"] if entry["name"] == "EAS_MOST_WORKERS"
    }


def test_the_largest_number_of_workers_is_remembered(operator: Operator) -> None:
    operator.eas("deploy")
    assert most_workers(operator.cluster) == {"8"}
    operator.eas("deploy", "--most-workers", "20")
    operator.eas("deploy")
    assert most_workers(operator.cluster) == {"20"}


def test_what_an_earlier_release_remembered_counts(operator: Operator) -> None:
    from tests.integration.fake_cluster import NAMESPACES

    note = json.dumps({"overlay": "production", "tag": "7", "workers": {"eas-worker-tls": None}})
    operator.cluster.objects[NAMESPACES, None, "plato"] = {
        "kind": "Namespace",
        "metadata": {"name": "plato", "annotations": {"eas-deployment": note}},
    }
    operator.cluster.failing["eas-setup"] = "error: not this time"
    operator.eas("deploy", code=3)
    del operator.cluster.all_of("Namespace")["plato"]["metadata"]["annotations"]
    operator.cluster.failing.clear()
    operator.eas("deploy")
    assert "backup" in operator.cluster.all_of("CronJob")
    assert images_of_workers(operator.cluster)["eas-worker-tls"] == "localhost/eas-tls:7"


def test_what_failed_is_not_remembered(operator: Operator) -> None:
    operator.eas("deploy", "--tag", "7")
    operator.cluster.failing["eas-setup"] = "error: the task database is of a later release"
    operator.eas("deploy", "--tag", "6", "--worker", "eas-worker-tls", code=3)
    operator.cluster.failing.clear()
    operator.eas("deploy")
    assert images_of_workers(operator.cluster) == {"eas-base": "localhost/eas-base:7"}


def test_status_shows_the_image_of_each_pod(operator: Operator) -> None:
    operator.eas("deploy", "--tag", "7")
    add_worker(operator.cluster, "worker-1")
    out, _ = operator.eas("status", "--json")
    images = {each["name"]: each["image"] for each in json.loads(out)["pods"]}
    assert images["supervisor-0"] == "eas-base:7" and images["worker-1-x"] == "eas-tls:7"
    out, _ = operator.eas("status")
    assert "eas-tls:7" in out


# -- one operator's command at a time ---------------------------------------------------------------


def lease(cluster: FakeCluster) -> Object:
    return cluster.all_of("Lease")["eas-operator"]


def hold_lease(cluster: FakeCluster, age: float = 0.0) -> None:
    renewed = (cluster.now() - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    cluster.objects[resource("coordination.k8s.io", "v1", "leases"), "plato", "eas-operator"] = {
        "kind": "Lease",
        "metadata": {
            "name": "eas-operator",
            "namespace": "plato",
            "resourceVersion": "theirs",
            "annotations": {"eas/command": "eas deploy"},
        },
        "spec": {
            "holderIdentity": "ada@observatory (1234)",
            "leaseDurationSeconds": 60,
            "acquireTime": renewed,
            "renewTime": renewed,
        },
    }


@pytest.mark.parametrize("command", ["deploy", "stop", "restart-workers", "restart-web-interface"])
def test_the_second_operator_learns_who_is_first(operator: Operator, command: str) -> None:
    operator.eas("deploy")
    hold_lease(operator.cluster)
    before = operator.cluster.all_of("Deployment")
    _, err = operator.eas(command, code=3)
    assert "ada@observatory runs `eas deploy` since" in err and "--take-over" in err
    assert operator.cluster.all_of("Deployment") == before
    operator.eas(command, "--take-over")
    assert "holderIdentity" not in lease(operator.cluster)["spec"], "it is given back"


@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 3600.0])
def test_the_lease_of_a_killed_command_expires_whatever_our_clock_says(operator: Operator, ahead: float) -> None:
    operator.cluster.ahead = ahead
    hold_lease(operator.cluster, age=50)
    assert "ada@observatory" in operator.eas("deploy", code=3)[1]
    hold_lease(operator.cluster, age=62)
    operator.eas("deploy")
    renewed = datetime.fromisoformat(lease(operator.cluster)["spec"]["renewTime"])
    assert abs((operator.cluster.now() - renewed).total_seconds()) < 60


def test_a_command_that_was_taken_over_ends(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_lease, "RENEW_INTERVAL", 0.05)
    operator.cluster.stuck["mysql"] = {"phase": "Running"}

    def take(method: str, path: str) -> None:
        if path.endswith("/deployments/prefect-server"):
            hold_lease(operator.cluster)

    operator.cluster.hook = take
    _, err = operator.eas("deploy", code=3)
    assert "ada@observatory runs `eas deploy`" in err and "has taken over" in err
    assert lease(operator.cluster)["spec"]["holderIdentity"] == "ada@observatory (1234)"


def test_who_may_not_use_leases_deploys_without(operator: Operator) -> None:
    operator.cluster.refused.add(("POST", "leases"))
    _, err = operator.eas("deploy")
    assert "not protected from another operator's commands" in err


# -- a cluster as it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [503, 429, "dropped"])
def test_an_api_server_that_is_away_for_a_moment_is_waited_for(operator: Operator, how: int | str) -> None:
    count = 0

    def fall_silent(method: str, path: str) -> None:
        nonlocal count
        count += 1
        if count in (3, 20, 40, 60):
            operator.cluster.outage = [how, how]

    operator.cluster.hook = fall_silent
    operator.eas("deploy")
    assert replicas(operator.cluster) == dict.fromkeys(CORE, 1)


def test_an_api_server_that_refuses_connections_for_a_moment_is_waited_for(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cluster,) = yaml.safe_load((operator.folder / "config").read_text())["clusters"]
    refused: list[BaseException] = []
    send = Cluster._send_once

    async def sent(self: Cluster, *arguments: Any) -> bytes:
        try:
            return await send(self, *arguments)
        except aiohttp.ClientConnectorError as error:
            refused.append(error)
            if len(refused) == 2:
                gate.open()
            raise

    monkeypatch.setattr(Cluster, "_send_once", sent)
    count = 0

    def shut(method: str, path: str) -> None:
        nonlocal count
        count += 1
        if count == 30:
            gate.refuse_connections()

    with proxy_to(cluster["cluster"]["server"]) as gate:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(operator.folder / "through the gate", gate.url)))
        operator.cluster.hook = shut
        operator.eas("deploy")
    assert len(refused) == 2
    assert replicas(operator.cluster) == dict.fromkeys(CORE, 1)


def test_applying_twice_makes_no_new_generation(operator: Operator) -> None:
    def generations() -> dict[str, int]:
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"].get("generation", 0)
            for each in operator.cluster.everything()
            if each.get("kind") not in (None, "Job", "Pod", "Lease")
        }

    operator.eas("deploy", "--overlay", "production")
    before = generations()
    operator.eas("deploy")
    assert generations() == before


@pytest.mark.parametrize("content", ["a: [1", "just text", "- 1", "", "clusters: 3", "\x00"])
def test_a_kubeconfig_that_is_none(operator: Operator, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    path = operator.folder / "broken"
    path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))
    _, err = operator.eas("status", code=3)
    assert "broken" in err and "KUBECONFIG" in err


@pytest.mark.parametrize("command", ["stop", "restart-workers", "restart-web-interface"])
def test_a_namespace_that_does_not_exist(operator: Operator, command: str) -> None:
    out, err = operator.eas(command, "--namespace", "nowhere", code=2)
    assert "there is no namespace nowhere" in err
    assert operator.cluster.changes() == [] and "stopped" not in out + err
