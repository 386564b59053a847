"""`eas deploy` before it touches what serves: the probe of the images, the setup Job, room on a full node, rollback."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from infra.deploy import room
from tests.integration.cluster_operator import CORE, Operator, add_worker, replicas
from tests.integration.fake_cluster import FULL, READY, UNBOUND, UNSCHEDULABLE, FakeCluster, decided

Object = dict[str, Any]


def images(cluster: FakeCluster) -> dict[str, str]:
    workloads = cluster.all_of("Deployment") | cluster.all_of("StatefulSet")
    return {name: each["spec"]["template"]["spec"]["containers"][0]["image"] for name, each in workloads.items()}


def test_an_image_that_cannot_be_pulled_changes_nothing_that_serves(operator: Operator) -> None:
    operator.eas("deploy", "--tag", "7")
    before = images(operator.cluster)
    operator.cluster.bad_images["localhost/eas-web:nosuch"] = ""
    _, err = operator.eas("deploy", "--tag", "nosuch", "--trouble-timeout", "0.5", code=3)
    assert "cannot get its image localhost/eas-web:nosuch" in err and "--tag" in err
    assert images(operator.cluster) == before
    assert "eas-probe" not in operator.cluster.all_of("Pod")
    operator.eas("deploy")
    assert decided(operator.cluster)["image"] == "localhost/eas-base:7", "the wrong tag is not remembered"


def test_an_image_that_does_not_start_changes_nothing_that_serves(operator: Operator) -> None:
    operator.eas("deploy", "--tag", "7")
    before = images(operator.cluster)
    operator.cluster.bad_images["localhost/eas-tls:8"] = "ImportError: libgomp.so.1"
    _, err = operator.eas("deploy", "--tag", "8", "--worker", "eas-worker-tls", code=3)
    assert "the image localhost/eas-tls:8 does not start: ImportError: libgomp.so.1" in err
    assert images(operator.cluster) == before


def test_every_image_is_probed_once(operator: Operator) -> None:
    _, err = operator.eas("deploy", "--overlay", "production", "--worker", "eas-worker-tls")
    (said,) = [line for line in err.splitlines() if line.startswith("images that can be pulled and start")]
    for image in ("localhost/eas-tls:", "localhost/eas-web:", "docker.io/library/postgres:", "library/mysql:"):
        assert image in said
    _, err = operator.eas("deploy")
    assert "images that can be pulled" not in err
    _, err = operator.eas("deploy", "--worker", "eas-worker-qats")
    assert "images that can be pulled and start: localhost/eas-qats:" in err


def test_a_probe_keeps_to_the_restricted_standard(operator: Operator) -> None:
    import kubernetes_validate

    from infra.deploy import probe
    from tests.unit.test_kubernetes_manifests import RELEASES

    made = probe.pod("plato", ["localhost/eas-base:7"], ["docker.io/library/mysql:8.4"])
    for release in RELEASES:
        kubernetes_validate.validate(made, release, strict=True)
    assert made["spec"]["securityContext"]["runAsNonRoot"]
    for each in made["spec"]["containers"]:
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_rollback(operator: Operator) -> None:
    operator.eas("deploy", "--tag", "7", "--worker", "eas-worker-tls", "--most-workers", "3")
    _, err = operator.eas("deploy", "--rollback", code=2)
    assert "no earlier deployment" in err
    operator.eas("deploy", "--tag", "8", "--worker", "eas-worker-qats", "--most-workers", "4")
    operator.eas("deploy")
    operator.eas("deploy", "--rollback")
    assert {name: each["image"] for name, each in decided(operator.cluster)["workers"].items()} == {
        "eas-base": "localhost/eas-base:7",
        "eas-worker-tls": "localhost/eas-tls:7",
    }
    assert images(operator.cluster)["supervisor"] == "localhost/eas-base:7"
    operator.eas("deploy")
    assert images(operator.cluster)["supervisor"] == "localhost/eas-base:7", "it stays"
    operator.eas("deploy", "--rollback")
    assert images(operator.cluster)["supervisor"] == "localhost/eas-base:8", "back again"


def test_rollback_goes_with_no_other_option(operator: Operator) -> None:
    _, err = operator.eas("deploy", "--rollback", "--tag", "7", code=2)
    assert "--rollback" in err and operator.cluster.changes() == []


# -- the setup Job ---------------------------------------------------------------------------------


def test_a_setup_that_is_given_up_is_deleted(operator: Operator) -> None:
    operator.cluster.stuck["eas-setup"] = UNSCHEDULABLE
    _, err = operator.eas("deploy", "--trouble-timeout", "0.5", code=3)
    assert "eas-setup-x cannot be scheduled" in err
    assert "eas-setup" not in operator.cluster.all_of("Job")
    assert "eas-setup-x" not in operator.cluster.all_of("Pod")


def test_one_setup_at_a_time_even_of_an_earlier_release(operator: Operator) -> None:
    operator.cluster.add_job("eas-setup-20261126-101010-123", "none")
    jobs = operator.cluster.objects
    (key,) = [each for each in jobs if each[2] == "eas-setup-20261126-101010-123"]
    jobs[key].patch({"metadata": {"labels": {"app.kubernetes.io/name": "eas-setup"}}, "status": {"active": 1}})
    operator.eas("deploy")
    assert set(operator.cluster.all_of("Job")) == {"eas-setup"}


def test_setups_have_increasing_numbers(operator: Operator) -> None:
    numbers = []
    for _ in range(3):
        operator.eas("deploy")
        numbers.append(decided(operator.cluster)["number"])
    assert numbers == sorted(set(numbers))


def test_while_setup_runs_its_last_line_is_shown(operator: Operator) -> None:
    operator.cluster.stuck["eas-setup"] = READY
    operator.cluster.failing["eas-setup"] = "waiting: the Prefect server cannot be reached"
    _, err = operator.eas("deploy", "--timeout", "1", code=3)
    assert "eas-setup: ready: waiting: the Prefect server cannot be reached" in err


def test_stop_does_not_wait_for_the_setup_of_a_command_that_was_killed(operator: Operator) -> None:
    operator.eas("deploy")
    operator.cluster.add_job("eas-setup", "none")
    (key,) = [each for each in operator.cluster.objects if each[2] == "eas-setup"]
    operator.cluster.objects[key].patch({"metadata": {"labels": {"app.kubernetes.io/name": "eas-setup"}}})
    operator.cluster.add_pod("eas-setup-x", {"job-name": "eas-setup", "app.kubernetes.io/part-of": "eas"}, READY)
    operator.eas("stop")
    assert "eas-setup" not in operator.cluster.all_of("Job")


def test_services_that_are_slow_to_get_ready_are_waited_for(operator: Operator) -> None:
    operator.cluster.stuck |= {"prefect-server": {"phase": "Running"}, "supervisor": {"phase": "Running"}}
    looks: Counter[str] = Counter()

    def get_ready(method: str, path: str) -> None:
        name = path.rpartition("/")[2]
        if method == "GET" and name in operator.cluster.stuck:
            looks[name] += 1
            if looks[name] == 3:
                operator.cluster.room_for(name)

    operator.cluster.hook = get_ready
    _, err = operator.eas("deploy")
    assert "prefect-server: running, not ready" in err and "supervisor: running, not ready" in err
    assert replicas(operator.cluster) == dict.fromkeys(CORE, 1)


@pytest.mark.parametrize("bound", [True, False])
def test_a_volume_that_is_being_made_is_waited_for(operator: Operator, bound: bool) -> None:
    operator.cluster.stuck["mysql"] = UNBOUND
    looks: list[str] = []

    def bind(method: str, path: str) -> None:
        if method == "GET" and path.endswith("/mysql"):
            looks.append(path)
            if bound and len(looks) == 3:
                operator.cluster.room_for("mysql")

    operator.cluster.hook = bind
    timeout = ("--trouble-timeout", "60" if bound else "0.5")
    _, err = operator.eas("deploy", *timeout, code=0 if bound else 3)
    assert "unbound immediate PersistentVolumeClaims" in err
    if bound:
        assert replicas(operator.cluster) == dict.fromkeys(CORE, 1)
    else:
        assert "storage class" in err and "supervisor" not in replicas(operator.cluster)


# -- a full node -----------------------------------------------------------------------------------


@pytest.mark.parametrize("blocked", ["eas-probe", "eas-setup", "supervisor"])
def test_workers_leave_where_only_they_stand_in_the_way(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    monkeypatch.setattr(room, "EVERY", 0.1)
    operator.cluster.stuck[blocked] = FULL
    for number in range(3):
        add_worker(operator.cluster, f"worker-{number}")
    add_worker(operator.cluster, "report-1", flow="report-progress")

    def leave(method: str, path: str) -> None:
        # The third worker that leaves makes room.
        if method == "DELETE" and "worker-" in path:
            left.append(path)
            if len(left) == 3:
                operator.cluster.room_for(blocked)

    left: list[str] = []
    operator.cluster.hook = leave
    _, err = operator.eas("deploy", "--trouble-timeout", "0.5")
    assert err.count("waits for room that workers have") == 3
    assert replicas(operator.cluster) == dict.fromkeys(CORE, 1)
    assert "report-1-x" in operator.cluster.all_of("Pod")


def test_a_full_node_without_workers_is_reported_as_before(operator: Operator) -> None:
    operator.cluster.stuck["supervisor"] = FULL
    _, err = operator.eas("deploy", "--trouble-timeout", "0.5", code=3)
    assert "supervisor-0 cannot be scheduled" in err and "Insufficient cpu" in err


def test_workers_have_a_lower_priority_where_the_operator_may_say_so(operator: Operator) -> None:
    operator.eas("deploy")
    made = operator.cluster.all_of("PriorityClass")["eas-worker"]
    assert made["value"] < 0 and made["preemptionPolicy"] == "Never"
    assert decided(operator.cluster)["priority_class"] == "eas-worker"
    operator.cluster.refused.add(("GET", "priorityclasses"))
    _, err = operator.eas("deploy")
    assert "you may not create eas-worker" in err
    assert decided(operator.cluster)["priority_class"] == ""
