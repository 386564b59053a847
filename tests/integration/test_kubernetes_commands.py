"""`eas deploy` and related commands, over HTTP, against a server of the Kubernetes API (see fake_cluster.py)."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

import eas
from infra.deploy import client, manifests
from infra.deploy.secrets import NAMES
from tests.integration.cluster_operator import CORE, Operator, add_worker, passwords, replicas
from tests.integration.fake_cluster import NAMESPACES, UNSCHEDULABLE, FakeCluster, decided, kubeconfig

Object = dict[str, Any]


def test_deploy_from_an_empty_namespace(operator: Operator) -> None:
    out, err = operator.eas("deploy")
    cluster = operator.cluster
    assert replicas(cluster) == dict.fromkeys(CORE, 1)
    assert set(cluster.all_of("Secret")) == set(NAMES)
    assert "port-forward service/prefect-server 4200" in out
    assert "ready: mysql, postgres, prefect-server, rabbitmq" in err
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
        if each.get("kind") not in ("Job", "Lease") and "eas-setup" not in each["metadata"]["name"]
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
    assert "backup" in operator.cluster.all_of("CronJob")
    assert decided(operator.cluster)["workers"]["eas-worker-qats"]["image"] == "localhost/eas-qats:7"
    assert replicas(operator.cluster)["rabbitmq"] == 0


def test_defaults_are_not_remembered(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.eas("deploy")
    monkeypatch.setattr(manifests.Images, "tag", "9.9.9")  # a later release
    operator.eas("deploy")
    assert decided(operator.cluster)["image"] == "localhost/eas-base:9.9.9"


def web_url(cluster: FakeCluster) -> tuple[str, str]:
    """Return where the supervisor, and the Jobs that Prefect starts, believe `eas web` to be."""
    (supervisor, _) = cluster.all_of("Deployment")["supervisor"]["spec"]["template"]["spec"]["containers"]
    (found,) = [entry["value"] for entry in supervisor["env"] if entry["name"] == "EAS_WEB_URL"]
    return found, decided(cluster)["web_url"]


def test_links_lead_to_the_address_of_eas_web(operator: Operator) -> None:
    operator.eas("deploy")
    assert web_url(operator.cluster) == ("http://127.0.0.1:4280",) * 2
    operator.eas("deploy", "--web-url", "https://eas.example/")
    operator.eas("deploy", "--worker", "eas-worker-tls")
    assert web_url(operator.cluster) == ("https://eas.example/",) * 2


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
        if each.get("kind") not in (None, "Namespace", "PriorityClass")
    }
    assert namespaces == {"elsewhere"}


@pytest.mark.parametrize(
    ("arguments", "what", "hint"),
    [
        (("--worker", "eas-worker-tsl"), "no worker type eas-worker-tsl", "eas-worker-tls"),
        (("--worker", "eas-worker-exotrans"), "no image of EAS runs eas-worker-exotrans", "--worker-image"),
        (("--overlay", "nowhere"), "no overlay nowhere", "production"),
        (("--limit-to-system-fraction", "0.001"), "too little", "--limit-to-system-fraction"),
        (("--worker-image", "x"), "not WORKER=IMAGE", "registry.example"),
        (("--web-url", "eas.example"), "--web-url is not a web address", "https://"),
        (("--web-url", "https://me:word@eas.example"), "--web-url is not a web address", "without user and password"),
    ],
)
def test_a_wrong_request_changes_nothing(operator: Operator, arguments: tuple[str, ...], what: str, hint: str) -> None:
    _, err = operator.eas("deploy", *arguments, code=2)
    assert what in err and hint in err
    assert operator.cluster.changes() == []


def test_a_pod_that_cannot_be_scheduled_is_reported_with_the_reason(operator: Operator) -> None:
    operator.cluster.stuck["mysql"] = UNSCHEDULABLE
    _, err = operator.eas("deploy", "--trouble-timeout", "0.5", code=3)
    assert "pod mysql-0 cannot be scheduled: 0/1 nodes are available: 1 Insufficient memory." in err
    assert "--limit-to-system-fraction" in err
    assert "supervisor" not in replicas(operator.cluster)


def test_a_pod_that_is_never_ready_ends_the_wait(operator: Operator) -> None:
    operator.cluster.stuck["prefect-server"] = {"phase": "Running"}
    _, err = operator.eas("deploy", "--timeout", "2", code=3)
    assert "not reached within 2 s" in err and "prefect-server: running, not ready" in err


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
    assert "you are not authorised for this" in err and "namespace plato" in err


def test_a_namespace_that_is_there_need_not_be_changed(operator: Operator) -> None:
    operator.eas("deploy")
    operator.cluster.refused.add(("PATCH", "namespaces"))
    _, err = operator.eas("deploy")
    assert "namespace plato itself is not changed" in err


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


def test_a_cluster_that_does_not_answer_is_reported_as_such(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(operator.folder / "silent", address)))
        monkeypatch.setattr(client, "TIMEOUT", 0.1)
        _, err = operator.eas("status", code=3)
    assert f"{address} cannot be reached: no answer in time" in err


def test_without_a_configuration(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(operator.folder / "missing"))
    _, err = operator.eas("deploy", code=3)
    assert "no Kubernetes cluster is configured: there is no file" in err and "KUBECONFIG" in err


# -- afterwards ----------------------------------------------------------------------------------


def test_stop_keeps_volumes_and_secrets_and_deploy_starts_again(operator: Operator) -> None:
    operator.eas("deploy", "--overlay", "production")
    cluster = operator.cluster
    add_worker(cluster, "worker-1")
    volumes, secrets = cluster.all_of("PersistentVolumeClaim"), cluster.all_of("Secret")
    assert {"eas-input", "eas-output"} <= set(volumes)
    before = len(cluster.changes())
    operator.eas("stop")
    assert set(replicas(cluster).values()) == {0}
    assert cluster.all_of("CronJob")["backup"]["spec"]["suspend"] is True
    assert "worker-1" not in cluster.all_of("Job")
    assert cluster.all_of("PersistentVolumeClaim") == volumes and cluster.all_of("Secret") == secrets
    deleted = [each for each in cluster.changes()[before:] if each.startswith("DELETE")]
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
    assert "1 workers stopped" in out
    pods = operator.cluster.all_of("Pod")
    assert "worker-1-x" not in pods and "chain-1-x" in pods
    template = operator.cluster.all_of("Deployment")["prefect-worker"]["spec"]["template"]
    assert template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]


def test_restart_workers_with_another_share_of_the_nodes(operator: Operator) -> None:
    operator.eas("deploy", "--worker", "eas-worker-tls", "--limit-to-system-fraction", "1")
    before = decided(operator.cluster)["workers"]
    out, _ = operator.eas("restart-workers", "--limit-to-system-fraction", "0.5")
    assert "0 workers stopped" in out
    after = decided(operator.cluster)["workers"]
    assert after.keys() == before.keys()
    assert after["eas-worker-tls"]["cpu"] == before["eas-worker-tls"]["cpu"] / 2


def test_workers_of_nothing_that_is_deployed_have_no_share(operator: Operator) -> None:
    _, err = operator.eas("restart-workers", "--limit-to-system-fraction", "0.5", code=2)
    assert "not deployed in namespace plato" in err


def test_restart_web_interface(operator: Operator) -> None:
    operator.eas("deploy")
    operator.eas("restart-web-interface")
    for name in ("prefect-server", "eas-web"):
        template = operator.cluster.all_of("Deployment")[name]["spec"]["template"]
        assert template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]
    assert "annotations" not in operator.cluster.all_of("Deployment")["prefect-worker"]["spec"]["template"]["metadata"]


def test_restarting_what_is_not_there_is_an_error(operator: Operator) -> None:
    operator.cluster.objects[NAMESPACES, None, "plato"] = {"kind": "Namespace", "metadata": {"name": "plato"}}
    _, err = operator.eas("restart-web-interface", code=3)
    assert "no Deployment prefect-server in namespace plato" in err and "eas deploy" in err


def test_status(operator: Operator) -> None:
    out, _ = operator.eas("status", code=1)
    assert "nothing runs in namespace plato" in out
    operator.eas("deploy")
    out, _ = operator.eas("status")
    assert "mysql-0" in out and "ready" in out and "unknown until the reconciler" in out
    operator.cluster.add_pod("supervisor-1", {"app.kubernetes.io/part-of": "eas"}, UNSCHEDULABLE)
    out, _ = operator.eas("status", "--json", code=1)
    found = json.loads(out)
    assert found["troubles"][0]["what"].startswith("pod supervisor-1 cannot be scheduled")
    assert {"mysql-0", "supervisor-1"} <= {each["name"] for each in found["pods"]}
