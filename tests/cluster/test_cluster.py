"""A day on the cluster that KUBECONFIG names: kind, minikube or a real one. `make test-cluster` runs it, in this order.

Images must be there (`make images`, then the tool that loads them, or a registry: EAS_TEST_REGISTRY, EAS_TEST_TAG).
EAS_TEST_NEXT_TAG names a second tag for the upgrade. The namespace EAS_TEST_NAMESPACE (eas-test) is used up.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.cluster.deployment import Deployment, from_environment, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        from_environment() is None, reason="no cluster is to be used: make test-cluster, with KUBECONFIG"
    ),
]
Object = dict[str, Any]
WORKERS = "eas-role=job,prefect.io/flow-name=work"


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    found = from_environment()
    assert found is not None
    return found


def chain(name: str, count: int) -> Object:
    body = [{"task": "null"}]
    loop = {"task": "execution_for_loop", "parameter": "i", "values": list(range(count)), "task_list": body}
    return {"job_name": name, "working_directory": name, "task_list": [loop]}


def test_deploy_from_empty_and_again(deployment: Deployment) -> None:
    deployment.deploy("--tag", deployment.tag)
    deployment.eas("status")
    assert "nothing would change" in deployment.eas("deploy", "--dry-run")
    before = generations(deployment)
    deployment.eas("deploy")
    assert generations(deployment) == before


def generations(deployment: Deployment) -> dict[str, int]:
    kinds = "deployments,statefulsets,networkpolicies,poddisruptionbudgets,cronjobs"
    items = json.loads(deployment.kubectl("get", kinds, "-o", "json"))["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["generation"] for each in items}


def test_eas_web_serves_pages_behind_its_password(deployment: Deployment) -> None:
    asking = (
        "import os, urllib.error as e, urllib.request as r\n"
        "def ask(path, **headers):\n"
        "    try: return r.urlopen(r.Request('http://127.0.0.1:4280' + path, headers=headers)).status\n"
        "    except e.HTTPError as error: return error.code\n"
        "import base64\n"
        "login = base64.b64encode(b'eas:' + os.environ['EAS_WEB_PASSWORD'].encode()).decode()\n"
        "print(ask('/health'), ask('/jobs'), ask('/jobs', Authorization='Basic ' + login))\n"
    )
    said = deployment.kubectl("exec", "-i", "deploy/eas-web", "--", "python", "-", stdin=asking)
    assert said.split() == ["200", "401", "200"]
    assert "service/eas-web 4280" in deployment.eas("status")


def test_jobs_run_while_the_prefect_server_is_away(deployment: Deployment) -> None:
    deployment.kubectl("scale", "deployment", "prefect-server", "--replicas=0")
    try:
        until(lambda: not deployment.pods("app.kubernetes.io/name=prefect-server"), "it is away")
        none = {"task": "execution_chain", "task_list": []}  # a task would need a worker, which Prefect starts
        job = deployment.submit({"job_name": "unseen", "working_directory": "unseen", "task_list": [none]})
        until(lambda: state(deployment, job) == "done", "the job")
    finally:
        deployment.kubectl("scale", "deployment", "prefect-server", "--replicas=1")
        until(lambda: ready(deployment), "the services are back")


def state(deployment: Deployment, job: int) -> str:
    found = json.loads(deployment.inside("jobs", "--json"))
    return str(next(each["state"] for each in found if each["id"] == job))


def test_a_chain_runs_and_workers_leave(deployment: Deployment) -> None:
    job = deployment.submit(chain("run", 50))
    until(lambda: deployment.totals(job)["done"] >= 50, "50 tasks done")
    until(lambda: not running(deployment), "workers leave when nothing waits")


def running(deployment: Deployment) -> list[Object]:
    return [pod for pod in deployment.pods(WORKERS) if pod["status"]["phase"] in ("Pending", "Running")]


@pytest.mark.parametrize("victim", ["app.kubernetes.io/name=mysql", "app.kubernetes.io/name=supervisor", WORKERS])
def test_killed_pods_cost_no_task(deployment: Deployment, victim: str) -> None:
    job = deployment.submit(chain(f"kill-{victim.rpartition('=')[2]}", 500))
    until(lambda: bool(running(deployment)), "a worker starts")
    deployment.kubectl("delete", "pod", "-l", victim, "--grace-period=0", "--force")
    until(lambda: ready(deployment), "the services are back")
    until(lambda: deployment.totals(job)["done"] >= 500, "500 tasks done")
    assert deployment.totals(job)["failed"] == 0


def ready(deployment: Deployment) -> bool:
    pods = deployment.pods("app.kubernetes.io/part-of=eas")
    states = [each for pod in pods for each in pod["status"].get("containerStatuses") or [] if not over(pod)]
    return bool(states) and all(each["ready"] for each in states)


def over(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def test_a_wrong_image_takes_nothing_down(deployment: Deployment) -> None:
    said = deployment.deploy("--tag", "nosuch", "--trouble-timeout", "20", code=3)
    assert "cannot get its image" in said
    assert ready(deployment)
    deployment.eas("deploy")


def test_upgrade_and_rollback(deployment: Deployment) -> None:
    following = os.environ.get("EAS_TEST_NEXT_TAG")
    if not following:
        pytest.skip("EAS_TEST_NEXT_TAG names no second tag")
    deployment.eas("deploy", "--tag", following)
    assert image(deployment, "supervisor").endswith(f":{following}")
    deployment.eas("deploy", "--rollback")
    assert image(deployment, "supervisor").endswith(f":{deployment.tag}")


def image(deployment: Deployment, name: str) -> str:
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    return deployment.kubectl("get", "deployment", name, "-o", path)


def test_services_get_room_on_a_node_that_workers_fill(deployment: Deployment) -> None:
    deployment.kubectl("apply", "-f", "-", stdin=json.dumps(fillers(deployment)))
    try:
        until(lambda: any(pod["status"]["phase"] == "Pending" for pod in running(deployment)), "the node is full")
        deployment.eas("deploy", "--most-workers", "3")
        assert ready(deployment)
    finally:
        deployment.kubectl("delete", "job", "fillers", "--ignore-not-found")
        until(lambda: not running(deployment), "fillers leave")


def fillers(deployment: Deployment) -> Object:
    """Return pods that look like workers and ask for more than any node has left."""
    container = {
        "name": "filler",
        "image": f"{deployment.registry}/eas-base:{deployment.tag}",
        "command": ["sleep", "3600"],
        "resources": {"requests": {"cpu": "250m"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"restartPolicy": "Never", "priorityClassName": "eas-worker", "securityContext": security}
    labels = {"eas-role": "job", "prefect.io/flow-name": "work"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fillers"},
        "spec": {
            "parallelism": 200,
            "completions": 200,
            "template": {"metadata": {"labels": labels}, "spec": {**pod, "containers": [container]}},
        },
    }


def test_save_and_restore(deployment: Deployment) -> None:
    job = deployment.submit(chain("kept", 5))
    until(lambda: deployment.totals(job)["done"] >= 5, "5 tasks done")
    deployment.inside("db", "save", "--output", "/data/saved.eas")
    lost = deployment.submit(chain("lost", 1))
    deployment.inside("db", "restore", "--force", "--input", "/data/saved.eas")
    assert deployment.totals(job)["done"] == 5
    with pytest.raises(AssertionError, match=f"there is no job {lost}"):
        deployment.totals(lost)


def test_stop_and_start_again(deployment: Deployment) -> None:
    deployment.eas("stop")
    assert not [pod for pod in deployment.pods("app.kubernetes.io/part-of=eas") if not over(pod)]
    deployment.eas("deploy")
    deployment.eas("status")
