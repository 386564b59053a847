"""What `eas deploy` and the reconciler decide, without a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from eas import registry
from eas.errors import RequestError
from infra.deploy import alive, drain, pods, reconcile, resources, setup, status
from infra.deploy.progress import Progress
from infra.deploy.resources import Capacity, PodResources
from infra.images import TARGETS, target_of
from tests.processes import TIMEOUT

Object = dict[str, Any]
REGISTRY = registry.load()
TLS = REGISTRY.worker_types["eas-worker-tls"]
NODE = Capacity(cpu=8, gpu=0, memory=32.0)


# -- resources -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", 0.5),
        ("16Gi", 16 * 1024**3),
        ("8127492Ki", 8127492 * 1024),
        ("3G", 3e9),
        (4, 4),
        ("1500M", 1.5e9),
    ],
)
def test_quantities(text: str | float, number: float) -> None:
    assert resources.quantity(text) == pytest.approx(number)


def node(cpu: str, memory: str, **more: Any) -> Object:
    return {"spec": more, "status": {"allocatable": {"cpu": cpu, "memory": memory, "nvidia.com/gpu": "1"}}}


def test_the_largest_node_that_takes_pods_counts() -> None:
    nodes = [node("4", "8Gi"), node("64", "512Gi", unschedulable=True), node("16", "64Gi")]
    assert resources.largest_node(nodes) == Capacity(16, 1, 64 * 1024**3 / 1e9)
    assert resources.largest_node([]) is None


def test_without_a_fraction_a_worker_gets_what_the_registry_asks_for() -> None:
    assert resources.assign(TLS, NODE, None) == PodResources(TLS.cpu, TLS.gpu, TLS.memory)


def test_a_fraction_limits_and_leaves_room_for_the_pod_itself() -> None:
    found = resources.assign(TLS, NODE, 0.25)
    assert found == PodResources(cpu=2.0, gpu=0, memory=7.5)
    variables = found.job_variables()
    assert variables == {"cpu": "2000m", "memory": "8000M"}
    assert resources.quantity(variables["memory"]) <= 0.25 * NODE.memory * 1e9


def test_a_fraction_never_gives_more_than_asked_for() -> None:
    found = resources.assign(TLS, Capacity(cpu=1000, gpu=4, memory=1000), 0.9)
    assert found == PodResources(TLS.cpu, TLS.gpu, TLS.memory)


def test_too_small_a_fraction_is_refused() -> None:
    with pytest.raises(RequestError, match="too little for eas-worker-tls") as raised:
        resources.assign(TLS, NODE, 0.01)
    assert "--limit-to-system-fraction" in raised.value.hint


def test_what_fits_nowhere_is_reported() -> None:
    said = resources.does_not_fit_reason("eas-worker-tls", PodResources(20, 1, 40), NODE)
    assert "20 cores (the largest node has 8)" in said and "40.5 GB" in said and "1 GPUs" in said
    assert resources.does_not_fit_reason("eas-base", PodResources(1, 0, 8), NODE) == ""
    assert resources.does_not_fit_reason("eas-base", PodResources(1, 0, 8), None) == ""


def test_every_worker_type_that_runs_code_has_an_image() -> None:
    runnable = {each.worker_type for each in REGISTRY.task_types.values() if each.implementation}
    for name in runnable:
        assert target_of(REGISTRY.worker_types[name]) in TARGETS, name
    assert target_of(REGISTRY.worker_types["eas-worker-exotrans"]) is None


# -- pods ----------------------------------------------------------------------------------------


def pod(name: str = "p", phase: str = "Running", **status: Any) -> Object:
    labels = {"eas-role": "job", "prefect.io/flow-run-id": f"run-{name}"}
    return {"metadata": {"name": name, "labels": labels}, "status": {"phase": phase, **status}}


def container(**state: Any) -> Object:
    return {"name": "prefect-job", "image": "i:1", "restartCount": 3, **state}


UNSCHEDULABLE = pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient memory."}])  # fmt: skip
NO_VOLUME = pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False",
    "message": 'pod has unbound immediate PersistentVolumeClaims'}])  # fmt: skip
NO_IMAGE = pod(
    phase="Pending",
    containerStatuses=[container(state={"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})],
)
CRASHES = pod(containerStatuses=[container(state={"waiting": {"reason": "CrashLoopBackOff"}},
    lastState={"terminated": {"reason": "Error", "exitCode": 3}})])  # fmt: skip
OOM = pod(phase="Failed", containerStatuses=[container(state={"terminated": {"reason": "OOMKilled", "exitCode": 137}})])
EVICTED = pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
DISRUPTED = pod(
    phase="Failed", conditions=[{"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"}]
)
KILLED = pod(phase="Failed", containerStatuses=[container(state={"terminated": {"exitCode": 143}})])


@pytest.mark.parametrize(
    ("found", "what", "hint"),
    [
        (
            UNSCHEDULABLE,
            "cannot be scheduled: 0/1 nodes are available: 1 Insufficient memory.",
            "--limit-to-system-fraction",
        ),
        (NO_VOLUME, "unbound immediate PersistentVolumeClaims", "storage class"),
        (NO_IMAGE, "cannot get its image i:1: not found", "make images"),
        (CRASHES, "keeps failing: prefect-job ended with exit code 3", "kubectl logs --previous p"),
    ],
)
def test_trouble_is_reported_with_its_hint(found: Object, what: str, hint: str) -> None:
    trouble = pods.trouble(found)
    assert trouble is not None
    assert what in trouble.what and hint in trouble.hint


def test_a_pod_that_runs_is_in_no_trouble() -> None:
    ready = pod(conditions=[{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}])
    assert pods.trouble(ready) is None
    assert pods.table_row(ready)[1] == "ready"
    assert pods.table_row(pod())[1] == "running, not ready"
    assert pods.table_row(CRASHES)[2] == "3"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (OOM, "prefect-job was killed: out of memory (OOMKilled)"),
        (EVICTED, "Kubernetes ended its pod: Evicted (The node was low on resource: memory.)"),
        (DISRUPTED, "its pod was evicted: Eviction API: evicting"),
        (KILLED, "prefect-job was killed by signal 15"),
        (pod(phase="Failed"), "its pod failed"),
        (pod(phase="Succeeded"), ""),
        (pod(), ""),
    ],
)
def test_why_a_pod_is_over(found: Object, why: str) -> None:
    assert pods.end_of(found) == why


# -- the reconciler's judgement -----------------------------------------------------------------------


def named(found: Object, name: str) -> Object:
    return found | {"metadata": found["metadata"] | {"name": name, "labels": {"prefect.io/flow-run-id": f"run-{name}"}}}


def test_workers_are_lost_with_their_pods_and_for_the_reason_that_kubernetes_gives() -> None:
    hosts = {"w1": "k8s:plato/alive", "w2": "k8s:plato/oom", "w3": "k8s:plato/gone", "w4": "k8s:plato/done"}
    found = [named(pod(), "alive"), named(OOM, "oom"), named(pod(phase="Succeeded"), "done")]
    gone = reconcile.lost(hosts, found, "plato", reconcile.Seen())
    assert gone == {
        "w2": "prefect-job was killed: out of memory (OOMKilled)",
        "w3": reconcile.DELETED,
        "w4": "its pod has ended",
    }


def test_a_reason_seen_before_the_pod_vanished_is_kept() -> None:
    seen = reconcile.Seen()
    reconcile.remember([named(EVICTED, "p")], seen)
    assert "Evicted" in reconcile.lost({"w": "k8s:plato/p"}, [], "plato", seen)["w"]


def test_runs_crash_with_failed_pods_and_with_pods_that_vanish() -> None:
    seen = reconcile.Seen()
    reconcile.remember([named(pod(), "a"), named(pod(phase="Succeeded"), "b")], seen)
    assert reconcile.crashed([named(OOM, "c")], seen) == {
        "run-a": reconcile.DELETED,
        "run-c": "prefect-job was killed: out of memory (OOMKilled)",
    }
    reconcile.remember([named(OOM, "c")], seen)
    assert reconcile.crashed([], seen) == {}, "a pod that was over and is removed is no news"


@pytest.mark.parametrize(
    ("conditions", "unfinished"),
    [
        (None, True),
        ([], True),
        ([{"type": "Failed", "status": "True"}], False),
        ([{"type": "Complete", "status": "True"}], False),
        ([{"type": "Suspended", "status": "True"}], True),
    ],
)
def test_which_jobs_are_unfinished(conditions: Any, unfinished: bool) -> None:
    assert pods.is_unfinished({"status": {"conditions": conditions}}) is unfinished


# -- the setup's deployments --------------------------------------------------------------------------

DECIDED: Object = {
    "image": "r/eas-base:1",
    "workers": {
        "eas-worker-tls": {"cpu": 2, "gpu": 0, "memory": 7.5, "image": "r/eas-tls:1"},
        "our-own": {"cpu": 1, "gpu": 1, "memory": 1, "image": "r/ours:1"},
    },
}


def cluster_deployments() -> dict[tuple[str, str], Object]:
    content = yaml.safe_load((setup.ROOT / "prefect.yaml").read_text())
    changed = setup.deployments(content, DECIDED, Path("/opt/eas"))
    assert changed["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/eas"}}]
    return {(each["entrypoint"].rpartition(":")[2], each["name"]): each for each in changed["deployments"]}


def test_every_deployment_goes_to_the_cluster_and_only_wanted_workers_do() -> None:
    found = cluster_deployments()
    assert {each["work_pool"]["name"] for each in found.values()} == {setup.POOL}
    assert {name for flow, name in found if flow == "work"} == {"eas-worker-tls", "our-own"}
    assert ("run_chain", "eas") in found and ("report_progress", "eas") in found


def test_a_worker_gets_its_image_and_resources() -> None:
    found = cluster_deployments()
    variables = found["work", "eas-worker-tls"]["work_pool"]["job_variables"]
    assert variables["image"] == "r/eas-tls:1"
    assert (variables["cpu"], variables["memory"]) == ("2000m", "8000M")
    assert found["work", "our-own"]["work_pool"]["job_variables"]["gpu"] == 1


@pytest.mark.parametrize("priority", ["eas-worker", ""])
def test_workers_alone_make_way_for_services_where_a_priority_could_be_made(priority: str) -> None:
    content = yaml.safe_load((setup.ROOT / "prefect.yaml").read_text())
    for each in setup.deployments(content, DECIDED | {"priority_class": priority})["deployments"]:
        found = each["work_pool"].get("job_variables", {}).get("priority_class")
        is_worker = each["entrypoint"].endswith(":work")
        assert found == (priority if is_worker and priority else None), each["name"]


def test_jobs_know_the_address_of_eas_web() -> None:
    template = json.loads(setup.TEMPLATE.read_text())
    changed = setup.pool_template(template, {"web_url": "https://eas.example"}, "plato")
    environment = changed["variables"]["properties"]["env"]["default"]
    assert environment["EAS_WEB_URL"] == "https://eas.example" and environment["EAS_DATA_DIR"] == "/data"


def test_a_chain_starts_no_workers_of_its_own_there() -> None:
    assert cluster_deployments()["run_chain", "eas"]["parameters"]["workers"] == 0


def test_a_run_that_waits_for_room_keeps_its_slot() -> None:
    limits = [each["concurrency_limit"] for each in cluster_deployments().values() if "concurrency_limit" in each]
    assert len(limits) > 5
    assert {each["grace_period_seconds"] for each in limits} == {21600}


# -- liveness and draining -----------------------------------------------------------------------------


def test_a_process_that_stops_touching_its_file_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_ALIVE_FILE", str(tmp_path / "alive"))
    assert alive.main([]) == 1
    assert math.isinf(alive.age())
    alive.touch()
    assert alive.main([]) == 0
    os.utime(alive.file(), (time.monotonic() - alive.OLD - 1,) * 2)
    assert alive.main([]) == 1


def old_files(folder: Path) -> list[Path]:
    """Make every sign of life in the folder too old, and return the files."""
    for path in (files := list(folder.iterdir())):
        os.utime(path, (time.monotonic() - 1e5,) * 2)
    return files


@pytest.mark.parametrize("hanging", ["look", "report", None])
def test_a_loop_of_the_reconciler_that_hangs_is_not_hidden_by_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: str | None
) -> None:
    (folder := tmp_path / "signs").mkdir()
    monkeypatch.setenv("EAS_ALIVE_FILE", str(folder / "alive"))
    monkeypatch.setattr(reconcile, "EVERY", 0.001)
    monkeypatch.setattr(reconcile.App, "load", contextlib.nullcontext)
    monkeypatch.setattr(reconcile, "connect", lambda _namespace: contextlib.nullcontext())
    rounds = dict.fromkeys(("look", "report"), 0)
    stop = asyncio.Event()

    async def step(name: str) -> None:
        rounds[name] += 1
        if name == hanging and rounds[name] > 1:
            await stop.wait()

    for name in rounds:
        monkeypatch.setattr(reconcile.Reconciler, name, lambda _self, name=name: step(name))

    async def several_rounds() -> None:
        counted = dict(rounds)
        while any(rounds[name] < counted[name] + 3 for name in rounds if name != hanging):
            await asyncio.sleep(0.001)

    async def observed() -> tuple[int, int]:
        running = asyncio.create_task(reconcile.run("plato", "http://127.0.0.1:9/api", stop))
        await several_rounds()
        before = alive.main([])
        assert old_files(folder)
        await several_rounds()
        after = alive.main([])
        stop.set()
        await running
        return before, after

    assert asyncio.run(asyncio.wait_for(observed(), TIMEOUT)) == (0, 1 if hanging else 0)


def test_a_loop_of_the_reconciler_that_never_begins_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "signs").mkdir()
    monkeypatch.setenv("EAS_ALIVE_FILE", str(folder / "alive"))
    monkeypatch.setattr(reconcile.command, "run", lambda _main: 0)  # neither loop begins
    assert reconcile.main() == 0
    assert alive.main([]) == 0, "it has just started"
    old_files(folder)
    for name in ("looks", "reports"):
        assert alive.main([]) == 1
        alive.touch(name)
    assert alive.main([]) == 0


def test_how_old_a_sign_of_life_may_be_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_ALIVE_FILE", str(tmp_path / "alive"))
    alive.touch("looks")
    os.utime(alive.file("looks"), (time.monotonic() - 500,) * 2)
    assert alive.main([]) == 1
    assert alive.main(["600"]) == 0


def test_draining_asks_the_workers_and_waits_for_them(tmp_path: Path) -> None:
    """A stand-in for the worker with its very command line, in which alone the drain believes."""
    package = tmp_path / "eas"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        textwrap.dedent("""
        import pathlib, signal, sys, time
        def leave(*_):
            time.sleep(0.5)
            pathlib.Path("left").touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        pathlib.Path("ready").touch()
        time.sleep(60)
        """)
    )
    process = subprocess.Popen([sys.executable, "-m", "eas", "worker", "--type", "eas-base"], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 100
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.pid in drain.worker_pids()
        only = tmp_path / "proc"
        only.mkdir()
        (only / str(process.pid)).symlink_to(f"/proc/{process.pid}")
        assert drain.worker_pids(only) == [process.pid]
        drain.drain(only, settle=0.0)
        assert (tmp_path / "left").exists(), "it did not wait"
        assert process.wait(100) == 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


def test_liveness_and_draining_import_nothing_large() -> None:
    look = "print(sorted(set(sys.modules) & {'eas', 'yaml', 'prefect', 'httpx'}))"
    code = f"import sys, infra.deploy.alive, infra.deploy.drain; {look}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# -- what is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_tells_what_is_waited_for(terminal: bool) -> None:
    screen = io.StringIO()
    with Progress(Console(file=screen, force_terminal=terminal, width=100)) as progress:
        progress.print_line("applied 3 objects")
        progress.update([("mysql", "pending")])
        progress.update([("mysql", "pending")])
        progress.print_line("ready: mysql")
    said = screen.getvalue()
    assert "applied 3 objects" in said and "ready: mysql" in said
    if not terminal:
        assert said.count("waiting: mysql: pending") == 1, "lines must not repeat themselves"


def test_what_the_reconciler_wrote_long_ago_is_called_old() -> None:
    screen = io.StringIO()
    inside = {
        "queues": [],
        "jobs": [],
        "errors": [{"at": "now", "job": "j", "message": "[bold]x"}],
    }
    found = status.Status("plato", [("p", "ready", "0", "n")], [], inside, age=600.0)
    status.show(found, Console(file=screen, width=100))
    assert "600 s old" in screen.getvalue()
    assert "[bold]x" in screen.getvalue(), "messages are no markup"
    assert found.well and not status.Status("plato", [], [], None).well
