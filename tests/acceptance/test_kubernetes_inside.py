"""What runs inside the cluster, with a real Prefect server and task database; Kubernetes' API is kmock's."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from eas.app import App
from eas.errors import ServiceError
from eas.settings import Settings
from eas.taskdb import attempt_claims, tables, workers
from eas.worker.worker import WorkerOptions
from infra.deploy import manifests, reconcile, status
from infra.deploy.client import connect
from infra.deploy.flow_runs import FlowRuns
from infra.deploy.setup import POOL
from tests.acceptance.prefect_server import ask_prefect, serving
from tests.integration import fake_cluster
from tests.integration.fake_cluster import FULL, FakeCluster, kubeconfig
from tests.integration.harness import System
from tests.processes import MAX_TIMEOUT, ROOT, TIMEOUT, clean_environment, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

Object = dict[str, Any]
DECIDED: Object = {
    "image": "r.example/eas-base:7",
    "workers": {
        "eas-base": {"cpu": 1, "gpu": 0, "memory": 1, "image": "r.example/eas-base:7"},
        "eas-worker-qats": {"cpu": 1, "gpu": 0, "memory": 0.9, "image": "r.example/eas-qats:7"},
    },
}
OOM = {
    "phase": "Failed",
    "containerStatuses": [{"name": "prefect-job", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server of this module's own: the setup takes over deployments that other tests use."""
    with serving(tmp_path_factory.mktemp("prefect")) as url:
        yield url


def set_up(url: str, home: Path, decided: Object = DECIDED) -> None:
    environment = clean_environment() | {
        "PREFECT_API_URL": url, "PREFECT_HOME": str(home / "prefect"), "EAS_HOME": str(home / "eas-home"),
        "EAS_DEPLOYMENT": json.dumps(decided), "EAS_NAMESPACE": "elsewhere",
    }  # fmt: skip
    command = [sys.executable, "-m", "infra.deploy.setup"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_setup_makes_pool_and_deployments_and_twice_changes_nothing(server: str, tmp_path: Path) -> None:
    set_up(server, tmp_path)
    pool = ask_prefect(server, f"/work_pools/{POOL}")
    properties = pool["base_job_template"]["variables"]["properties"]
    assert pool["type"] == "kubernetes"
    assert properties["namespace"]["default"] == "elsewhere"
    assert properties["image"]["default"] == "r.example/eas-base:7"
    first = deployments(server)
    assert {name for name in first if name.startswith("work/")} == {"work/eas-base", "work/eas-worker-qats"}
    assert {"run-chain/eas", "report-progress/eas"} <= first.keys()
    assert {each["work_pool_name"] for each in first.values()} == {POOL}
    assert first["work/eas-worker-qats"]["job_variables"]["image"] == "r.example/eas-qats:7"
    assert first["work/eas-worker-qats"]["job_variables"]["memory"] == "1400M"
    assert {
        each["pull_steps"][0]["prefect.deployments.steps.set_working_directory"]["directory"] for each in first.values()
    } == {str(ROOT)}
    set_up(server, tmp_path)
    second = deployments(server)
    assert {name: each["id"] for name, each in second.items()} == {name: each["id"] for name, each in first.items()}

    set_up(server, tmp_path, DECIDED | {"workers": {"eas-base": DECIDED["workers"]["eas-base"]}})
    assert {name for name in deployments(server) if name.startswith("work/")} == {"work/eas-base"}

    app = App(Settings(home=tmp_path / "eas-home"))
    worker = app.worker(WorkerOptions(("eas-worker-qats",)))
    assert worker.cpus == 1, "the registry asks for 2 threads, the deployment gave 1"
    assert worker.executor._options.memory_limit == 900
    worker.executor.close()
    app.close()


def deployments(url: str) -> dict[str, Object]:
    flows = {each["id"]: each["name"] for each in ask_prefect(url, "/flows/filter", {})}
    found = ask_prefect(url, "/deployments/filter", {})
    return {f"{flows[each['flow_id']]}/{each['name']}": each for each in found}


# -- the reconciler --------------------------------------------------------------------------------


def flow_run(url: str, state: str) -> str:
    flow = ask_prefect(url, "/flows/", {"name": "work"})["id"]
    run = ask_prefect(url, "/flow_runs/", {"flow_id": flow, "name": "w", "state": {"type": "PENDING"}})["id"]
    ask_prefect(url, f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
    return str(run)


def state_of(url: str, run: str) -> tuple[str, str]:
    found = ask_prefect(url, f"/flow_runs/{run}")["state"]
    return found["type"], found["message"] or ""


def test_runs_end_as_crashed_with_the_reason_unless_they_ended_otherwise(server: str) -> None:
    running, done, cancelling = (flow_run(server, each) for each in ("RUNNING", "COMPLETED", "CANCELLING"))
    crashed = flow_run(server, "CRASHED")  # by Prefect's own observer, which gives no reason
    reasons = dict.fromkeys((running, done, cancelling, crashed, str(uuid.uuid4())), "out of memory")

    async def ask() -> tuple[list[str], list[str], set[str], set[str]]:
        async with FlowRuns(server) as runs:
            first, second = await runs.crash(reasons), await runs.crash(reasons)
            everyone = {running, done, cancelling, "no-such-run".replace("no-such-run", str(uuid.uuid4()))}
            return first, second, await runs.over_for(everyone, 0.0), await runs.over_for({done}, 3600.0)

    first, second, over, long_over = asyncio.run(ask())
    assert set(first) == {running, crashed} and second == []
    assert state_of(server, running) == state_of(server, crashed) == ("CRASHED", "out of memory")
    assert state_of(server, done)[0] == "COMPLETED" and state_of(server, cancelling)[0] == "CANCELLING"
    assert {running, done} < over and cancelling not in over and len(over) == 3
    assert long_over == set()


class Inside:
    """A system whose workers run in pods: what SQL believes of them is written by hand."""

    def __init__(self, folder: Path, cluster: FakeCluster, server: str) -> None:
        self.system, self.cluster, self.server = System(folder), cluster, server
        self.by_operator: int | None = None
        """Number of the first request that an operator sends, who has more rights."""
        self.database = self.system.app.database

    def worker_with_a_task(self, pod: str) -> int:
        """Submit a task, let a worker in a pod claim it; return the attempt."""
        job = self.system.submit([{"task": "null", "name": f"task-{pod}"}], name=pod)
        self.system.drive(job, steps=3)
        worker = f"worker-{pod}"

        def claim(connection: Any) -> list[Any]:
            process = workers.Process(f"elsewhere/{pod}", 7, 0.0)
            workers.register(
                connection, worker_id=worker, host=workers.Host(f"k8s:plato/{pod}", 1, 1.0), process=process,
                worker_types=["eas-base"], cpus=1, now=time.time(),
            )  # fmt: skip
            waiting = [row.id for row in attempt_claims.next_queued(connection, ["null"], 1, time.time())]
            free = attempt_claims.lock_attempts(connection, waiting, time.time())
            return list(attempt_claims.claim(connection, worker, free, time.time()))

        (claimed,) = self.database.transact(claim)
        return int(claimed)

    def look(self, *, times: int = 1, report: bool = False) -> None:
        async def run() -> None:
            async with connect("plato") as cluster, FlowRuns(self.server) as runs:
                if not hasattr(self, "reconciler"):
                    self.reconciler = reconcile.Reconciler(self.system.app, cluster, runs)
                self.reconciler.cluster, self.reconciler.runs = cluster, runs
                for _ in range(times):
                    await self.reconciler.look()
                if report:
                    await self.reconciler.report()

        asyncio.run(run())

    def beyond_its_rights(self) -> set[tuple[str, str]]:
        """Return what was asked of the cluster that the reconciler's Role does not allow, as (verb, resource)."""
        objects = manifests.render(manifests.overlay_folder("minikube"))
        role = next(each for each in objects if each["kind"] == "Role" and each["metadata"]["name"] == "reconciler")
        rights = {(verb, name) for rule in role["rules"] for verb in rule["verbs"] for name in rule["resources"]}
        verbs = {"LIST": "list", "FETCH": "get", "UPDATE": "patch", "DELETE": "delete", "CREATE": "create"}
        asked = {
            (verbs[each.action.value], each.resource.plural) for each in self.cluster._requests[: self.by_operator]
        }
        return asked - rights

    def attempt(self, attempt_id: int) -> tuple[str, str]:
        row, result = tables.attempts, tables.attempt_results
        query = select(row.c.state, result.c.reason).outerjoin(result, result.c.attempt_id == row.c.id)
        found = self.system.rows(query.where(row.c.id == attempt_id))[0]
        return found.state, found.reason or ""

    def queued(self) -> int:
        return len(self.system.rows(select(tables.attempts.c.id).where(tables.attempts.c.state == "queued")))


@pytest.fixture
def inside(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    with fake_cluster.serving() as (cluster, url):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", url)))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        made = Inside(tmp_path / "home", cluster, server)
        yield made
        made.system.app.close()
        assert made.beyond_its_rights() == set(), "in a real cluster its Role would not allow that"


def labels(run: str) -> Object:
    return {"eas-role": "job", "prefect.io/flow-run-id": run, "prefect.io/flow-name": "work"}


def test_a_pod_killed_for_memory_hands_back_its_task_with_that_reason(inside: Inside) -> None:
    run = flow_run(inside.server, "RUNNING")
    inside.cluster.add_pod("oom", labels(run))
    attempt = inside.worker_with_a_task("oom")
    inside.look()
    assert inside.attempt(attempt)[0] == "running", "its pod is alive"
    inside.cluster.add_pod("oom", labels(run), OOM)
    inside.look()
    state, reason = inside.attempt(attempt)
    assert state == "stalled" and "out of memory (OOMKilled)" in reason
    assert inside.queued() == 1
    assert state_of(inside.server, run) == ("CRASHED", "prefect-job was killed: out of memory (OOMKilled)")
    inside.look(times=2)
    assert inside.queued() == 1, "handed back twice"


def test_a_deleted_pod_is_noticed_also_by_a_reconciler_that_never_saw_it(inside: Inside) -> None:
    attempt = inside.worker_with_a_task("gone")
    inside.look()
    state, reason = inside.attempt(attempt)
    assert state == "stalled" and reconcile.DELETED in reason
    assert inside.queued() == 1


def test_a_deleted_pods_run_ends_as_crashed(inside: Inside) -> None:
    run = flow_run(inside.server, "RUNNING")
    inside.cluster.add_pod("p", labels(run))
    inside.look()
    inside.cluster._drop_pods("prefect.io/flow-run-id", run)
    inside.look()
    assert state_of(inside.server, run) == ("CRASHED", reconcile.DELETED)


def test_a_run_ends_as_crashed_also_when_the_server_is_away_at_first(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = flow_run(inside.server, "RUNNING")
    inside.cluster.add_pod("p", labels(run))
    inside.look()
    inside.cluster._drop_pods("prefect.io/flow-run-id", run)
    url, inside.server = inside.server, "http://127.0.0.1:9/api"
    with pytest.raises(ServiceError, match="cannot be reached"):
        inside.look()
    inside.server = url
    inside.look()
    assert state_of(url, run) == ("CRASHED", reconcile.DELETED)


def test_workers_elsewhere_are_left_alone(inside: Inside) -> None:
    attempt = inside.worker_with_a_task("mine")
    with inside.database.write() as connection:
        connection.execute(tables.hosts.update().values(name="a-laptop"))
    inside.look()
    assert inside.attempt(attempt)[0] == "running"


def test_orphaned_jobs_are_removed_and_others_are_not(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    running, cancelled = flow_run(inside.server, "RUNNING"), flow_run(inside.server, "CANCELLED")
    inside.cluster.add_job("wanted", running)
    inside.cluster.add_job("cancelled", cancelled)
    inside.look()
    assert set(inside.cluster.all_of("Job")) == {"wanted", "cancelled"}, "it has a minute to end by itself"
    monkeypatch.setattr(reconcile, "ORPHAN_AGE", 0.0)
    inside.look()
    assert set(inside.cluster.all_of("Job")) == {"wanted"}


def test_a_worker_that_was_taken_back_waits_for_room_no_longer(inside: Inside) -> None:
    cancelled = flow_run(inside.server, "CANCELLED")
    inside.cluster.add_job("taken-back", cancelled)
    inside.cluster.add_pod("taken-back-x", labels(cancelled) | {"job-name": "taken-back"}, FULL)
    inside.look()
    assert "taken-back" not in inside.cluster.all_of("Job")


def test_status_shows_what_the_reconciler_wrote(inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    inside.cluster.add_pod("p", labels("run"))
    inside.worker_with_a_task("p")
    inside.cluster.objects[_config_maps(), "plato", "eas-status"] = {
        "kind": "ConfigMap",
        "metadata": {"name": "eas-status"},
    }
    inside.cluster.ahead = 3600.0
    inside.look(report=True)
    inside.by_operator = len(inside.cluster._requests)

    async def look() -> status.Status:
        async with connect("plato") as cluster:
            return await status.look(cluster)

    found = asyncio.run(look())
    assert found.inside is not None and found.age is not None and found.age < TIMEOUT
    base = next(each for each in found.inside["queues"] if each["worker_type"] == "eas-base")
    assert (base["running"], base["workers"]) == (1, 1)
    assert [each["name"] for each in found.inside["jobs"]] == ["p"]
    status.show(found, Console(width=120))
    said = capsys.readouterr().out
    assert "queues and workers" in said and "unfinished jobs" in said and "no errors" in said


def test_the_status_is_written_while_prefect_is_away_and_a_pods_task_is_handed_back(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAS_HOME", str(inside.system.app.settings.home))
    monkeypatch.setattr(reconcile, "EVERY", 0.1)
    inside.cluster.add_pod("oom", labels("run"), OOM)
    attempt = inside.worker_with_a_task("oom")
    inside.cluster.objects[_config_maps(), "plato", "eas-status"] = {
        "kind": "ConfigMap",
        "metadata": {"name": "eas-status"},
    }

    async def until_written() -> Object:
        stop = asyncio.Event()
        running = asyncio.create_task(reconcile.run("plato", "http://127.0.0.1:9/api", stop))
        async with asyncio.timeout(TIMEOUT):
            while not (written := inside.cluster.all_of("ConfigMap")["eas-status"].get("data")):
                await asyncio.sleep(0.05)
            while inside.attempt(attempt)[0] == "running":
                await asyncio.sleep(0.05)
        stop.set()
        await running
        return dict(json.loads(written["status.json"]))

    assert [each["name"] for each in asyncio.run(until_written())["jobs"]] == ["oom"]


def _config_maps() -> Any:
    from kmock._internal.references import resource

    return resource("", "v1", "configmaps")


def test_the_pod_of_eas_web_serves_pages_and_files_behind_its_password_and_writes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    system = System(tmp_path / "eas-home", data_dir=data)
    with system.worker():
        system.drive(system.submit([{"task": "null", "name": "a"}]))
    (pod,) = [
        next(manifests.containers(each))
        for each in manifests.render(manifests.overlay_folder("minikube"))
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "eas-web"
    ]
    arguments = ["0" if each == "4280" else each for each in pod["args"][1:]]
    environment = clean_environment() | {
        "EAS_HOME": str(tmp_path / "eas-home"), "EAS_DATA_DIR": str(data), "EAS_WEB_PASSWORD": "a-password",
    }  # fmt: skip
    before = sorted(data.rglob("*"))
    command = [sys.executable, "-m", "eas", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        with httpx.Client(base_url=address, timeout=TIMEOUT, trust_env=False) as client:
            probe = pod["readinessProbe"]["httpGet"]["path"]
            assert client.get(probe).status_code == 200
            assert client.get("/jobs").status_code == 401
            assert "test" in client.get("/jobs", auth=("eas", "a-password")).text
        process.terminate()
        assert process.wait(TIMEOUT) in (0, -signal.SIGTERM)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        system.app.close()
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize("verb", ["jobs", "workers"])
def test_pods_that_start_while_prefect_is_away_stay_and_leave_in_order(tmp_path: Path, verb: str) -> None:
    system = System(tmp_path / "eas-home")
    job = system.submit([{"task": "execution_chain", "task_list": []}])
    environment = clean_environment() | {
        "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path / "prefect"),
        "EAS_HOME": str(tmp_path / "eas-home"), "EAS_ALIVE_FILE": str(tmp_path / "alive"),
    }  # fmt: skip
    command = [sys.executable, "-m", "infra.deploy.supervise", verb]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        wait_for((tmp_path / "alive").exists, "its sign of life")
        if verb == "jobs":
            wait_for(lambda: system.summary(job).state == "done", "the job")
        assert process.poll() is None
        process.terminate()
        assert process.wait(TIMEOUT) == 0, (tmp_path / "log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        system.app.close()
    said = (tmp_path / "log").read_text()
    assert "received SIGTERM" in said and "Traceback" not in said


@pytest.mark.slow
def test_the_supervisors_pod_runs_jobs_shows_that_it_is_alive_and_leaves_in_order(server: str, tmp_path: Path) -> None:
    system = System(tmp_path / "eas-home")
    job = system.submit([{"task": "null", "name": "a"}])
    environment = clean_environment() | {
        "PREFECT_API_URL": server, "PREFECT_HOME": str(tmp_path / "prefect"), "EAS_HOME": str(tmp_path / "eas-home"),
        "EAS_ALIVE_FILE": str(tmp_path / "alive"),
    }  # fmt: skip
    command = [sys.executable, "-m", "infra.deploy.supervise", "jobs"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        with system.worker():
            wait_for(lambda: system.summary(job).state == "done", "the job")
        assert (tmp_path / "alive").exists()
        process.terminate()
        # Prefect ends the run, then itself by the same signal, which the first process of a container ignores.
        assert process.wait(TIMEOUT) in (0, -signal.SIGTERM), (tmp_path / "log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        system.app.close()
    assert "Traceback" not in (tmp_path / "log").read_text()
