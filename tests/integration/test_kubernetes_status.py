"""`eas status`: what is normal on a busy cluster is no alarm, and figures say how old they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster_operator import Operator
from tests.integration.fake_cluster import CONFIG_MAPS, FULL, PODS, UNBOUND, UNSCHEDULABLE
from tests.integration.harness import System

Object = dict[str, Any]
AHEAD = (-3600.0, 0.0, 3600.0)
"""By how much the clock of the API server is ahead of ours [s]. It tells its time to the second: ages may be less."""


def inside(operator: Operator, age: float, **content: Any) -> None:
    text = json.dumps(
        {"at": operator.cluster.now().timestamp() - age, "queues": [], "jobs": [], "errors": [], **content}
    )
    operator.cluster.objects[CONFIG_MAPS, "plato", "eas-status"].patch({"data": {"status.json": text}})


def aged(operator: Operator, pod: str, seconds: float) -> None:
    created = (operator.cluster.now() - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (key,) = [each for each in operator.cluster.objects if each[2] == pod]
    operator.cluster.objects[key].patch({"metadata": {"creationTimestamp": created}})


def test_workers_that_wait_for_room_are_normal(operator: Operator) -> None:
    operator.eas("deploy")
    for number in range(9):
        operator.cluster.add_pod(f"worker-{number}", {"eas-role": "job"}, FULL)
    out, _ = operator.eas("status")
    assert "9 workers, reports or chains are pending" in out and "->" not in out
    found = json.loads(operator.eas("status", "--json")[0])
    assert (found["waiting_for_room"], found["troubles"]) == (9, [])


def test_a_service_without_room_is_a_problem(operator: Operator) -> None:
    operator.eas("deploy")
    operator.cluster.add_pod("supervisor-0", {"app.kubernetes.io/part-of": "eas"}, FULL)
    out, _ = operator.eas("status", code=1)
    assert "supervisor-0 cannot be scheduled" in out


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_volume_that_is_being_made_is_a_problem_only_after_a_while(operator: Operator, ahead: float) -> None:
    operator.cluster.ahead = ahead
    operator.eas("deploy")
    operator.cluster.add_pod("mysql-0", {"app.kubernetes.io/part-of": "eas"}, UNBOUND)
    aged(operator, "mysql-0", 10)
    operator.eas("status")
    aged(operator, "mysql-0", 100)
    out, _ = operator.eas("status", code=1)
    assert "unbound immediate" in out and "storage class" in out


def test_a_failed_pod_whose_retry_succeeded_is_past(operator: Operator) -> None:
    operator.eas("deploy")
    labels = {"app.kubernetes.io/part-of": "eas", "job-name": "eas-setup"}
    waiting = {"name": "setup", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    operator.cluster.add_pod("eas-setup-first", labels, {"phase": "Failed", "containerStatuses": [waiting]})
    out, _ = operator.eas("status")
    assert "eas-setup-first" not in out
    operator.cluster.add_pod(
        "other-x", labels | {"job-name": "other"}, {"phase": "Failed", "containerStatuses": [waiting]}
    )
    operator.cluster.add_pod("another-x", {"eas-role": "job"}, UNSCHEDULABLE | {"conditions": []})
    out, _ = operator.eas("status", code=1)
    assert "other-x" in out


@pytest.mark.parametrize("ahead", AHEAD)
def test_figures_say_how_old_they_are(operator: Operator, ahead: float) -> None:
    operator.cluster.ahead = ahead
    operator.eas("deploy")
    inside(
        operator, 3, services={"supervisor": 4.0, "scaler": None}, volumes={"eas-output": {"total": 5e9, "free": 1e9}}
    )
    out, _ = operator.eas("status")
    assert re.search(r"the following is \d s old\n", out)
    assert "supervisor: alive 4 s before that" in out and "scaler: none is alive" in out
    assert "volume eas-output: 1.0 of 5.0 GB free" in out
    inside(operator, 43)
    out, _ = operator.eas("status")
    assert re.search(r"the following is (4[2-9]|5\d) s old: the reconciler does not write it any more", out)
    assert 41 < json.loads(operator.eas("status", "--json")[0])["inside_age"] < 60


def in_a_pod(folder: Path) -> Callable[[list[str]], str]:
    """Return how a pod of this namespace runs a command: with the task database in a folder."""

    def run(command: list[str]) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "KUBE"))}
        here = [sys.executable, *command[1:]] if command[0] == "python" else command
        done = subprocess.run(here, env=kept | {"EAS_HOME": str(folder)}, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    return run


def test_figures_that_are_old_are_asked_of_the_task_database(operator: Operator, system: System) -> None:
    system.submit([{"task": "null"}], name="a job")
    operator.eas("deploy")
    operator.cluster.programs = in_a_pod(operator.folder)
    inside(operator, 43)
    out, _ = operator.eas("status")
    assert "just read from the task database" in out and "a job" in out
    assert operator.cluster.executed == ["supervisor-0 supervisor"]
    found = json.loads(operator.eas("status", "--json")[0])
    assert found["inside_asked"] and [each["name"] for each in found["inside"]["jobs"]] == ["a job"]


def test_figures_that_are_new_are_not_asked_for(operator: Operator) -> None:
    operator.eas("deploy")
    inside(operator, 3)
    assert not json.loads(operator.eas("status", "--json")[0])["inside_asked"]
    assert operator.cluster.executed == []


def test_a_task_database_that_cannot_be_asked_leaves_what_was_written(operator: Operator) -> None:
    operator.eas("deploy")
    inside(operator, 43)
    operator.cluster.programs = lambda command: "error: the task database cannot be reached\n  -> start it"
    assert re.search(r"the following is (4[2-9]|[5-9]\d) s old", operator.eas("status")[0])
    operator.cluster.stuck["supervisor"] = {"phase": "Running"}
    operator.eas("restart-workers")  # the controllers look again
    operator.cluster.executed.clear()
    assert "s old: the reconciler does not write it any more" in operator.eas("status")[0]
    assert operator.cluster.executed == [], "a pod that is not ready is not asked"


MYSQL = {
    "nodeName": "node-1",
    "containers": [
        {
            "name": "mysql",
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "data", "mountPath": "/var/lib/mysql"}],
        }
    ],
    "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-mysql-0"}},
        {"name": "tmp", "emptyDir": {}},
    ],
}
DISK = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sdb1 10000000 9500000 500000 95% /var/lib/mysql"


def add_mysql(operator: Operator, labels: Object, name: str = "mysql-0") -> None:
    operator.cluster.add_pod(name, labels)
    (key,) = [each for each in operator.cluster.objects if each[2] == name]
    operator.cluster.objects[key].patch({"spec": MYSQL})


def test_the_free_space_of_each_volume_is_shown(operator: Operator) -> None:
    operator.eas("deploy")
    add_mysql(operator, {"app.kubernetes.io/part-of": "eas"})
    inside(operator, 3, volumes={"eas-output": {"total": 5e9, "free": 1e9}})
    asked: list[list[str]] = []
    operator.cluster.programs = lambda command: (asked.append(command), DISK)[1]  # type: ignore[func-returns-value]
    out, _ = operator.eas("status")
    assert "volume data-mysql-0: 0.5 of 10.2 GB free" in out
    assert "volume eas-output: 1.0 of 5.0 GB free" in out
    assert operator.cluster.executed == ["mysql-0 mysql"]
    assert asked == [["df", "-Pk", "/var/lib/mysql"]]
    found = json.loads(operator.eas("status", "--json")[0])
    assert found["volumes"]["data-mysql-0"] == {"total": 10_240_000_000, "free": 512_000_000}


def test_a_volume_that_cannot_be_asked_is_left_out(operator: Operator) -> None:
    operator.eas("deploy")
    add_mysql(operator, {"app.kubernetes.io/part-of": "eas"})
    inside(operator, 3)
    assert "volume" not in operator.eas("status")[0], "there is no right to run anything in a pod"
    operator.cluster.programs = lambda command: "df: /var/lib/mysql: No such file or directory"
    assert "volume" not in operator.eas("status")[0]


def test_workers_and_pods_that_are_not_ready_are_not_asked_for_free_space(operator: Operator) -> None:
    operator.eas("deploy")
    add_mysql(operator, {"eas-role": "job"}, "worker-0")
    add_mysql(operator, {"app.kubernetes.io/part-of": "eas"})
    operator.cluster.objects[PODS, "plato", "mysql-0"].patch({"status": {"conditions": []}})
    inside(operator, 3)
    operator.eas("status")
    assert operator.cluster.executed == []


def test_addresses_are_shown(operator: Operator) -> None:
    operator.eas("deploy", "--namespace", "elsewhere")
    out, _ = operator.eas("status", "--namespace", "elsewhere")
    assert "Prefect: kubectl -n elsewhere port-forward service/prefect-server 4200" in out
    assert "eas web: kubectl -n elsewhere port-forward service/eas-web 4280, then http://127.0.0.1:4280" in out
    secret = "kubectl -n elsewhere get secret eas-web-auth -o go-template="
    assert f"user name eas, password: {secret}" in out


def test_addresses_are_those_of_what_is_deployed(operator: Operator) -> None:
    operator.eas("deploy")
    services = operator.cluster.all_of("Service")
    shown = json.loads(operator.eas("status", "--json")[0])["addresses"]
    for line in (each for each in shown if "port-forward" in each):
        name, port = line.partition("service/")[2].partition(",")[0].split()
        assert int(port) in [each["port"] for each in services[name]["spec"]["ports"]], line
    secrets = operator.cluster.all_of("Secret")
    for line in (each for each in shown if "get secret" in each):
        name, _, template = line.partition("get secret ")[2].partition(" -o ")
        assert template.split('"')[1] in secrets[name]["stringData"], line
