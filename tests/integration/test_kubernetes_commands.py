"""`eas deploy` and its like, over HTTP, against a server of the Kubernetes API (see fake_cluster.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import eas
from eas.cli import main
from infra.deploy import manifests
from infra.deploy.secrets import NAMES
from tests.integration.fake_cluster import UNSCHEDULABLE, FakeCluster, decided, kubeconfig, serving

Object = dict[str, Any]
CORE = {"mysql", "rabbitmq", "prefect-server", "prefect-worker", "supervisor", "reconciler"}


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


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Operator]:
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


def test_deploy_from_an_empty_namespace(operator: Operator) -> None:
    out, err = operator.eas("deploy")
    cluster = operator.cluster
    assert replicas(cluster) == dict.fromkeys(CORE, 1)
    assert set(cluster.all_of("Secret")) == set(NAMES) - {"prefect-database"}
    assert "port-forward service/prefect-server 4200" in out
    assert "ready: mysql, prefect-server, rabbitmq" in err
    worker = decided(cluster)["workers"].pop("eas-base")
    assert worker == {"cpu": 1, "gpu": 0, "memory": 7.5, "image": f"localhost/eas-base:{eas.__version__}"}, (
        "not a quarter"
    )


def test_services_are_set_up_between_the_databases_and_those_who_use_them(operator: Operator) -> None:
    operator.eas("deploy")
    places = {path.rpartition("/")[2]: at for at, path in enumerate(operator.cluster.changes())}
    assert places["plato"] == 0, "the namespace comes first"
    assert places["secrets"] < places["mysql"] < places["jobs"] < places["supervisor"]


def test_no_secret_is_shown_or_written_anywhere_else(operator: Operator) -> None:
    out, err = operator.eas("deploy", "--overlay", "production", "--json")
    found = passwords(operator.cluster)
    assert len(found) >= 6
    others = json.dumps([each for each in operator.cluster.everything() if each.get("kind") != "Secret"])
    for value in found:
        assert value not in out + err
        assert value not in others
    assert json.loads(out)["secrets_made"] == list(NAMES)


def test_deploying_twice_changes_nothing(operator: Operator) -> None:
    operator.eas("deploy")
    before = operator.cluster.all_of("Secret")
    state = _without_jobs(operator.cluster)
    operator.eas("deploy")
    assert _without_jobs(operator.cluster) == state
    assert operator.cluster.all_of("Secret") == before, "new passwords would lock everyone out"


def _without_jobs(cluster: FakeCluster) -> list[str]:
    kept = [
        each
        for each in cluster.everything()
        if each.get("kind") != "Job" and "eas-setup" not in each["metadata"]["name"]
    ]
    return sorted(json.dumps(each, sort_keys=True) for each in kept)


def test_workers_are_added_with_their_image_and_a_fraction_of_the_node(operator: Operator) -> None:
    arguments = (
        "--worker",
        "eas-worker-tls",
        "--limit_to_system_fraction",
        "0.25",
        "--registry",
        "r.example/eas",
        "--tag",
        "7",
    )
    out, _ = operator.eas("deploy", *arguments)
    workers = decided(operator.cluster)["workers"]
    assert workers["eas-worker-tls"] == {"cpu": 2.0, "gpu": 0, "memory": 7.5, "image": "r.example/eas/eas-tls:7"}
    assert "worker type eas-worker-tls: 2 cores, 7.5 GB, 0 GPUs for its tasks" in out


def test_a_later_deploy_keeps_to_the_earlier_choices(operator: Operator) -> None:
    operator.eas("deploy", "--overlay", "production", "--tag", "7", "--queue-implementation", "sql")
    operator.eas("deploy", "--worker", "eas-worker-qats")
    assert "postgres" in replicas(operator.cluster)
    assert decided(operator.cluster)["workers"]["eas-worker-qats"]["image"] == "localhost/eas-qats:7"
    assert replicas(operator.cluster)["rabbitmq"] == 0


def test_defaults_are_not_remembered(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.eas("deploy")
    monkeypatch.setattr(manifests.Images, "tag", "9.9.9")  # a later release
    operator.eas("deploy")
    assert decided(operator.cluster)["image"] == "localhost/eas-base:9.9.9"


def test_the_job_queue_in_sql_needs_no_rabbitmq(operator: Operator) -> None:
    operator.eas("deploy", "--queue-implementation", "sql")
    assert replicas(operator.cluster)["rabbitmq"] == 0
    assert operator.cluster.all_of("Secret")["eas-settings"]["stringData"]["EAS_QUEUE_URL"] == "sql:"
    operator.eas("deploy", "--queue-implementation", "amqp")
    assert replicas(operator.cluster)["rabbitmq"] == 1
    assert operator.cluster.all_of("Secret")["eas-settings"]["stringData"]["EAS_QUEUE_URL"].startswith("amqp://eas:")


def test_secrets_of_the_operator_are_left_alone(operator: Operator) -> None:
    from kmock._internal.references import resource

    own = {
        "kind": "Secret",
        "metadata": {"name": "mysql-auth", "namespace": "plato"},
        "data": {"password": "bXkgb3du", "root-password": "eA=="},
    }
    operator.cluster.objects[resource("", "v1", "secrets"), "plato", "mysql-auth"] = own
    operator.eas("deploy")
    assert operator.cluster.all_of("Secret")["mysql-auth"] == own
    assert "eas:my%20own@mysql" in operator.cluster.all_of("Secret")["eas-settings"]["stringData"]["EAS_DATABASE_URL"]


def test_settings_of_the_operator_are_left_alone(operator: Operator) -> None:
    from kmock._internal.references import resource

    own = {
        "kind": "Secret",
        "metadata": {"name": "eas-settings", "namespace": "plato"},
        "data": {"EAS_QUEUE_URL": "bXk="},
    }
    operator.cluster.objects[resource("", "v1", "secrets"), "plato", "eas-settings"] = own
    operator.eas("deploy", "--queue-implementation", "sql")
    assert operator.cluster.all_of("Secret")["eas-settings"] == own


def test_another_namespace(operator: Operator) -> None:
    operator.eas("deploy", "--namespace", "elsewhere")
    namespaces = {
        each["metadata"].get("namespace")
        for each in operator.cluster.everything()
        if each.get("kind") not in (None, "Namespace")
    }
    assert namespaces == {"elsewhere"}


@pytest.mark.parametrize(
    ("arguments", "what", "cure"),
    [
        (("--worker", "eas-worker-tsl"), "no worker type eas-worker-tsl", "eas-worker-tls"),
        (("--worker", "eas-worker-exotrans"), "no image of EAS runs eas-worker-exotrans", "--worker-image"),
        (("--overlay", "nowhere"), "no overlay nowhere", "production"),
        (("--limit-to-system-fraction", "0.001"), "too little", "--limit-to-system-fraction"),
        (("--worker-image", "x"), "not WORKER=IMAGE", "registry.example"),
    ],
)
def test_a_wrong_request_changes_nothing(operator: Operator, arguments: tuple[str, ...], what: str, cure: str) -> None:
    _, err = operator.eas("deploy", *arguments, code=2)
    assert what in err and cure in err
    assert operator.cluster.changes() == []


def test_a_pod_that_cannot_be_scheduled_is_told_with_the_reason(operator: Operator) -> None:
    operator.cluster.stuck["mysql"] = UNSCHEDULABLE
    _, err = operator.eas("deploy", "--trouble-timeout", "0.5", code=3)
    assert "pod mysql-0 cannot be scheduled: 0/1 nodes are available: 1 Insufficient memory." in err
    assert "--limit-to-system-fraction" in err
    assert "supervisor" not in replicas(operator.cluster)


def test_a_pod_that_is_never_ready_ends_the_wait(operator: Operator) -> None:
    operator.cluster.stuck["prefect-server"] = {"phase": "Running"}
    _, err = operator.eas("deploy", "--timeout", "2", code=3)
    assert "waited 2 s in vain" in err and "prefect-server: running, not ready" in err


def test_a_worker_that_fits_on_no_node_is_a_warning(operator: Operator) -> None:
    _, err = operator.eas("deploy", "--overlay", "production", "--worker", "eas-worker-tls")
    assert "no node can hold eas-worker-tls: it asks for 20 cores (the largest node has 8)" in err


def test_a_failed_setup_shows_its_log(operator: Operator) -> None:
    operator.cluster.failing["eas-setup"] = "error: the task database is of a later release"
    _, err = operator.eas("deploy", code=3)
    assert "the task database is of a later release" in err
    assert "supervisor" not in replicas(operator.cluster)


@pytest.mark.parametrize("refused", [("PATCH", "namespaces"), ("POST", "secrets"), ("PATCH", "statefulsets")])
def test_without_rights(operator: Operator, refused: tuple[str, str]) -> None:
    operator.cluster.refused.add(refused)
    _, err = operator.eas("deploy", code=3)
    assert "the cluster does not let you do this" in err and "namespace plato" in err


def test_a_namespace_that_is_there_need_not_be_changed(operator: Operator) -> None:
    operator.eas("deploy")
    operator.cluster.refused.add(("PATCH", "namespaces"))
    _, err = operator.eas("deploy")
    assert "namespace plato itself is left as it is" in err


def test_nodes_are_needed_only_for_a_fraction(operator: Operator) -> None:
    operator.cluster.refused.add(("GET", "nodes"))
    operator.eas("deploy")
    _, err = operator.eas("deploy", "--limit-to-system-fraction", "0.5", code=3)
    assert "nodes is forbidden" in err


def test_without_a_cluster(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(operator.folder / "dead", "http://127.0.0.1:9")))
    for command in ("deploy", "status", "stop", "restart-workers", "restart-web-interface"):
        _, err = operator.eas(command, code=3)
        assert "http://127.0.0.1:9 cannot be reached" in err and "minikube start" in err


def test_without_a_configuration(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(operator.folder / "missing"))
    _, err = operator.eas("deploy", code=3)
    assert "no Kubernetes cluster is configured: there is no file" in err and "KUBECONFIG" in err


# -- afterwards ----------------------------------------------------------------------------------


def add_worker(cluster: FakeCluster, name: str, flow: str = "work") -> None:
    labels = {
        "eas-role": "job",
        "job-name": name,
        "prefect.io/flow-name": flow,
        "prefect.io/flow-run-id": f"run-{name}",
    }
    cluster.add_pod(f"{name}-x", labels)
    cluster.add_job(name, f"run-{name}")


def test_stop_keeps_volumes_and_secrets_and_deploy_starts_again(operator: Operator) -> None:
    operator.eas("deploy", "--overlay", "production")
    cluster = operator.cluster
    add_worker(cluster, "worker-1")
    volumes, secrets = cluster.all_of("PersistentVolumeClaim"), cluster.all_of("Secret")
    assert {"eas-input", "eas-output"} <= set(volumes)
    operator.eas("stop")
    assert set(replicas(cluster).values()) == {0}
    assert cluster.all_of("CronJob")["backup"]["spec"]["suspend"] is True
    assert "worker-1" not in cluster.all_of("Job")
    assert cluster.all_of("PersistentVolumeClaim") == volumes and cluster.all_of("Secret") == secrets
    deleted = [each for each in cluster.changes() if each.startswith("DELETE")]
    assert deleted == ["DELETE /apis/batch/v1/namespaces/plato/jobs/worker-1"]
    operator.eas("stop")
    operator.eas("deploy")
    assert set(replicas(cluster).values()) == {1}
    assert cluster.all_of("CronJob")["backup"]["spec"]["suspend"] is False
    assert cluster.all_of("Secret") == secrets


def test_databases_stop_after_those_who_use_them(operator: Operator) -> None:
    operator.eas("deploy")
    before = len(operator.cluster.changes())
    operator.eas("stop")
    order = [path.rpartition("/")[2] for path in operator.cluster.changes()[before:]]
    assert order.index("supervisor") < order.index("prefect-server") < order.index("mysql")


def test_restart_workers_asks_workers_alone(operator: Operator) -> None:
    operator.eas("deploy")
    add_worker(operator.cluster, "worker-1")
    add_worker(operator.cluster, "chain-1", flow="run-chain")
    out, _ = operator.eas("restart-workers")
    assert "1 workers left" in out
    pods = operator.cluster.all_of("Pod")
    assert "worker-1-x" not in pods and "chain-1-x" in pods
    template = operator.cluster.all_of("Deployment")["prefect-worker"]["spec"]["template"]
    assert template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]


def test_restart_web_interface(operator: Operator) -> None:
    operator.eas("deploy")
    operator.eas("restart-web-interface")
    template = operator.cluster.all_of("Deployment")["prefect-server"]["spec"]["template"]
    assert template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]
    assert "annotations" not in operator.cluster.all_of("Deployment")["prefect-worker"]["spec"]["template"]["metadata"]


def test_restarting_what_is_not_there_is_told(operator: Operator) -> None:
    _, err = operator.eas("restart-web-interface", code=3)
    assert "no Deployment prefect-server in namespace plato" in err and "eas deploy" in err


def test_status(operator: Operator) -> None:
    out, _ = operator.eas("status", code=1)
    assert "nothing runs in namespace plato" in out
    operator.eas("deploy")
    out, _ = operator.eas("status")
    assert "mysql-0" in out and "ready" in out and "not known yet" in out
    operator.cluster.add_pod("chain-x", {"eas-role": "job"}, UNSCHEDULABLE)
    out, _ = operator.eas("status", "--json", code=1)
    found = json.loads(out)
    assert found["troubles"][0]["what"].startswith("pod chain-x cannot be scheduled")
    assert {"mysql-0", "chain-x"} <= {each["name"] for each in found["pods"]}
