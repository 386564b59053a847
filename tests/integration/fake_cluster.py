"""kmock, an HTTP server of the Kubernetes API, with what `eas deploy` needs of a real one besides.

Server-side apply makes what is absent; lists heed selectors; and the controllers' work is done: pods for
Deployments and StatefulSets, a result for Jobs. What it does not do: defaults, validation, admission.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp.web
import yaml
from kmock._internal.apps import Server
from kmock._internal.enums import action
from kmock._internal.k8s import KubernetesEmulator, KubernetesError, KubernetesResourceNotFoundError
from kmock._internal.references import resource

Object = dict[str, Any]
PODS, JOBS, NODES = resource("", "v1", "pods"), resource("batch", "v1", "jobs"), resource("", "v1", "nodes")
NAMESPACES = resource("", "v1", "namespaces")
UNSCHEDULABLE: Object = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
         "message": "0/1 nodes are available: 1 Insufficient memory."},
    ],
}  # fmt: skip
READY: Object = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


class FakeCluster(KubernetesEmulator):
    """``stuck``: states of pods of workloads that never get ready; ``failing``: Jobs that fail, with their
    logs; ``refused``: (method, plural) pairs that are forbidden; ``stays``: pods that outlive their deletion."""

    stuck: dict[str, Object]
    failing: dict[str, str]
    refused: set[tuple[str, str]]

    def prepare(self) -> None:
        self.stuck, self.failing, self.refused = {}, {}, set()
        self.objects[NODES, None, "node-1"] = {
            "metadata": {"name": "node-1"},
            "spec": {},
            "status": {"allocatable": {"cpu": "8", "memory": "32G"}},
        }

    # -- what tests look at --------------------------------------------------------------------

    def everything(self) -> list[Object]:
        return [copy.deepcopy(each.raw) for each in self.objects.values() if not each.deleted]

    def all_of(self, kind: str) -> dict[str, Object]:
        """Return objects by name; for kinds that were sent with their kind."""
        return {each["metadata"]["name"]: each for each in self.everything() if each.get("kind") == kind}

    def changes(self) -> list[str]:
        return [f"{each.method.value} {each.url.path}" for each in self._requests if each.method.value != "GET"]

    def add_pod(self, name: str, labels: Object, status: Object | None = None, namespace: str = "plato") -> None:
        self.objects[PODS, namespace, name] = {
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "status": status or READY,
        }

    def add_job(self, name: str, run: str, namespace: str = "plato") -> None:
        labels = {"eas-role": "job", "prefect.io/flow-run-id": run}
        self.objects[JOBS, namespace, name] = {
            "kind": "Job",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {},
            "status": {"active": 1},
        }

    # -- the server ----------------------------------------------------------------------------

    async def _handle(self, request: Any) -> aiohttp.web.StreamResponse:
        if found := re.fullmatch(r"/api/v1/namespaces/([^/]+)", request.url.path):
            # kmock takes it for a namespace without anything in it.
            verb = {"GET": action.FETCH, "PATCH": action.UPDATE, "DELETE": action.DELETE}[request.method.value]
            for field, value in (("resource", NAMESPACES), ("namespace", None), ("name", found[1]), ("action", verb)):
                object.__setattr__(request, field, value)
        plural = request.resource.plural if request.resource else ""
        if (request.method.value, plural) in self.refused:
            raise KubernetesError(
                status=403, reason="Forbidden", message=f'{plural} is forbidden: User "me" cannot do that'
            )
        if request.subresource == "log":
            said = next((log for job, log in self.failing.items() if str(request.name).startswith(job)), "")
            return aiohttp.web.Response(text=said)
        self._before(request)
        answer = await super()._handle(request)
        if request.action not in (action.LIST, action.FETCH, None):
            self._controllers()
        return answer

    def _before(self, request: Any) -> None:
        key = (request.resource, request.namespace, request.name)
        if request.action == action.UPDATE and "apply" in request.headers.get("Content-Type", ""):
            self._make(key, request.data)
        if request.action == action.CREATE:
            request.data["metadata"].setdefault("namespace", request.namespace)
        if request.action == action.DELETE and request.resource == JOBS:
            self._drop_pods("job-name", request.name)

    def _make(self, key: Any, content: Object) -> None:
        if key not in self.objects or self.objects[key].deleted:
            self.objects[key] = copy.deepcopy(content)

    async def _serve_list(self, request: Any) -> Any:
        try:
            found = await super()._serve_list(request)
        except KubernetesResourceNotFoundError:
            return {"metadata": {}, "items": []}  # a real server knows the kinds of which it has none
        wanted = dict(part.split("=") for part in request.params.get("labelSelector", "").split(",") if part)
        items = [each for each in found["items"] if wanted.items() <= each["metadata"].get("labels", {}).items()]
        return found | {"items": items}

    # -- the controllers -----------------------------------------------------------------------

    def _controllers(self) -> None:
        for (kind, namespace, name), found in list(self.objects.items()):
            if found.deleted:
                continue
            if kind.plural in ("deployments", "statefulsets"):
                self._workload(found, namespace, name)
            elif kind.plural == "jobs" and name.startswith("eas-setup"):
                self._setup_job(found, namespace, name)

    def _workload(self, found: Any, namespace: str, name: str) -> None:
        wanted = int(found.raw["spec"].get("replicas", 1))
        stuck = self.stuck.get(name)
        ready = 0 if stuck else wanted
        status = {"observedGeneration": 1, "replicas": wanted, "updatedReplicas": wanted}
        found.patch({"status": status | {"readyReplicas": ready, "availableReplicas": ready}})
        self._drop_pods("app.kubernetes.io/name", name)
        labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "eas"}
        if wanted:
            self.add_pod(f"{name}-0", labels, stuck, namespace)

    def _setup_job(self, found: Any, namespace: str, name: str) -> None:
        failed = any(name.startswith(each) for each in self.failing)
        found.patch({"status": {"conditions": [{"type": "Failed" if failed else "Complete", "status": "True"}]}})
        self.add_pod(f"{name}-x", {"job-name": name}, {"phase": "Failed" if failed else "Succeeded"}, namespace)

    def _drop_pods(self, label: str, value: str) -> None:
        for (kind, _, _), found in list(self.objects.items()):
            if kind == PODS and not found.deleted and found.raw["metadata"].get("labels", {}).get(label) == value:
                found.delete()


@contextmanager
def serving() -> Iterator[tuple[FakeCluster, str]]:
    """Give a cluster and its URL; it is served from a thread, so that commands run as they always do."""
    started, stop, made = threading.Event(), asyncio.Event(), []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with FakeCluster() as cluster, Server(cluster) as server:
            cluster.prepare()
            made.append((cluster, str(server.url).rstrip("/")))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


def kubeconfig(path: Path, url: str) -> Path:
    """Write a kubeconfig file for a server."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": url}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "a-token"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def decided(cluster: FakeCluster) -> Object:
    """Return what the last setup Job was told."""
    name = max(cluster.all_of("Job"), key=str)
    (container,) = cluster.all_of("Job")[name]["spec"]["template"]["spec"]["containers"]
    return dict(json.loads(next(entry["value"] for entry in container["env"] if entry["name"] == "EAS_DEPLOYMENT")))
