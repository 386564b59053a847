"""kmock, an HTTP server of the Kubernetes API, with what `eas deploy` needs of a real one besides.

Server-side apply makes what is absent and removes what the manifest does not have any more; empty lists are
dropped; objects have resource versions and generations; lists heed selectors; and the controllers' work is
done: pods for Deployments and StatefulSets, a result for Jobs. It may be away for some requests. What it does not
do: most defaults, validation, admission.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp.web
import yaml
from kmock._internal.apps import Server
from kmock._internal.dicts import merge_patch_dict
from kmock._internal.enums import action
from kmock._internal.k8s import KubernetesEmulator, KubernetesError, KubernetesResourceNotFoundError
from kmock._internal.references import resource

Object = dict[str, Any]
PODS, JOBS, NODES = resource("", "v1", "pods"), resource("batch", "v1", "jobs"), resource("", "v1", "nodes")
CONFIG_MAPS = resource("", "v1", "configmaps")
NAMESPACES = resource("", "v1", "namespaces")
UNSCHEDULABLE: Object = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
         "message": "0/1 nodes are available: 1 Insufficient memory."},
    ],
}  # fmt: skip
FULL: Object = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
         "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available"},
    ],
}  # fmt: skip
UNBOUND: Object = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
         "message": "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."},
    ],
}  # fmt: skip
READY: Object = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


class FakeCluster(KubernetesEmulator):
    """``bad_images``: what a container of an image says before it fails; empty where it cannot be pulled;
    ``programs``: returns what a command in a pod prints, None where none can be run; ``stuck``: states of
    pods of workloads (or of the probe) that never get ready; ``failing``: Jobs that fail, with their logs; ``refused``:
    (method, plural) pairs that are forbidden; ``outage``: what the next requests get instead of an answer, a
    status or "dropped" (the connection); ``hook``: called with method and path of each; ``ahead``: by how much the
    clock of the server is ahead of that of the machine that asks [s].
    """

    stuck: dict[str, Object]
    failing: dict[str, str]
    refused: set[tuple[str, str]]
    outage: list[int | str]
    bad_images: dict[str, str]

    def prepare(self) -> None:
        self.stuck, self.failing, self.refused, self.outage = {}, {}, set(), []
        self.bad_images = {}
        self.ahead = 0.0
        self.programs: Callable[[list[str]], str] | None = None
        self.executed: list[str] = []
        self.asked: list[str] = []
        self.applied: dict[Any, Object] = {}
        self.versions = itertools.count(1)
        self.hook: Callable[[str, str], None] = lambda _method, _path: None
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
        return [each for each in self.asked if not each.startswith("GET ")]

    def add_pod(
        self, name: str, labels: Object, status: Object | None = None, namespace: str = "plato", image: str = ""
    ) -> None:
        self.objects[PODS, namespace, name] = {
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": image}]},
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

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    # -- the server ----------------------------------------------------------------------------

    async def _handle(self, request: Any) -> aiohttp.web.StreamResponse:
        """Answer, and forget the request: kmock compares each request with all earlier ones, several times."""
        self.asked.append(f"{request.method.value} {request.url.path}")
        try:
            return await self._answer(request)
        finally:
            self._requests[:] = [each for each in self._requests if each is not request]

    async def _answer(self, request: Any) -> aiohttp.web.StreamResponse:
        self.hook(request.method.value, request.url.path)
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
            if request.name == "eas-probe":
                return aiohttp.web.Response(text=self._probe_log(request.params.get("container", "")))
            said = next((log for job, log in self.failing.items() if str(request.name).startswith(job)), "")
            return aiohttp.web.Response(text=said)
        if request.params.get("dryRun"):
            return aiohttp.web.json_response(self._dry_run(request))
        self._before(request)
        answer = await super()._handle(request)
        if request.action not in (action.LIST, action.FETCH, None):
            self._controllers()
        return answer

    async def __call__(self, raw_request: Any) -> aiohttp.web.StreamResponse:
        if not self.outage and raw_request.path.endswith("/exec"):
            return await self._execute(raw_request)
        if not self.outage:
            answer = await super().__call__(raw_request)
            answer.headers["Date"] = format_datetime(self.now(), usegmt=True)
            return answer
        how = self.outage.pop(0)
        if isinstance(how, str):
            raw_request.transport.abort()
            return aiohttp.web.Response()
        message = {"kind": "Status", "message": "the server is currently unable to handle the request"}
        return aiohttp.web.json_response(message, status=how)

    async def _execute(self, request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        """Run a command in a pod, over a websocket: what it prints is on channel 1, how it ended on channel 3."""
        self.executed.append(f"{request.path.split('/')[-2]} {request.query['container']}")
        if self.programs is None:
            return aiohttp.web.json_response({"message": 'pods "x" is forbidden: cannot create pods/exec'}, status=403)
        socket = aiohttp.web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        said = await asyncio.to_thread(self.programs, request.query.getall("command"))
        await socket.send_bytes(b"\x01" + said.encode())
        await socket.send_bytes(b'\x03{"metadata":{},"status":"Success"}')
        await socket.close()
        return socket

    def _before(self, request: Any) -> None:
        if request.action == action.DELETE and request.resource == JOBS:
            self._drop_pods("job-name", request.name)
        if request.action == action.CREATE:
            request.data["metadata"].setdefault("namespace", request.namespace)
        if request.action not in (action.CREATE, action.UPDATE):
            return
        name = request.name or request.data["metadata"]["name"]
        key = (request.resource, request.namespace, name)
        present = key in self.objects and not self.objects[key].deleted
        old = self.objects[key].raw if present else {}
        applied = "apply" in request.headers.get("Content-Type", "")
        wanted = request.data.setdefault("metadata", {}).get("resourceVersion")
        if wanted and old and wanted != old["metadata"].get("resourceVersion"):
            raise KubernetesError(status=409, reason="Conflict", message="the object has been modified")
        if request.action == action.UPDATE and not (applied or old):
            return
        if applied:
            self._apply(key, request.data)
            if not old:
                self.objects[key] = copy.deepcopy(request.data)
        self._count(request.data, old)

    def _dry_run(self, request: Any) -> Object:
        """Return what applying would store."""
        key = (request.resource, request.namespace, request.name)
        content = copy.deepcopy(request.data)
        before = copy.deepcopy(self.applied.get(key))
        self._apply(key, content)
        self.applied[key] = before or {}
        return dict(merge_patch_dict(copy.deepcopy(self.objects[key].raw), content))

    def _apply(self, key: Any, content: Object) -> None:
        """Mark for removal what the last application had and this one has not; lists are replaced."""
        mine = copy.deepcopy(content)
        for path in _missing(self.applied.get(key, {}), content):
            *parents, last = path
            place = content
            for part in parents:
                place = place.setdefault(part, {})
            place[last] = None
        self.applied[key] = mine

    def _count(self, content: Object, old: Object) -> None:
        """Give the object its next resource version and, where its specification changes, generation.

        An empty list of a NetworkPolicy's is dropped, but still counts as a change.
        """
        generation = int(old.get("metadata", {}).get("generation", 0))
        dropped = [name for name, value in (content.get("spec") or {}).items() if value == []]
        if content.get("kind") == "NetworkPolicy":
            for name in dropped:
                del content["spec"][name]
        else:
            dropped = []
        spec = merge_patch_dict(old.get("spec") or {}, content.get("spec") or {})
        changed = bool(dropped) or spec != (old.get("spec") or {})
        content["metadata"]["generation"] = generation + (1 if changed else 0)
        same = merge_patch_dict(old, {key: each for key, each in content.items() if key != "metadata"}) == old
        metadata = {key: each for key, each in content["metadata"].items() if key != "resourceVersion"}
        same = same and merge_patch_dict(old.get("metadata", {}), metadata) == old.get("metadata", {})
        before = old.get("metadata", {}).get("resourceVersion")
        content["metadata"]["resourceVersion"] = before if same and before else str(next(self.versions))

    async def _serve_list(self, request: Any) -> Any:
        try:
            found = await super()._serve_list(request)
        except KubernetesResourceNotFoundError:
            return {"metadata": {}, "items": []}  # a real server knows the kinds of which it has none
        wanted = dict(part.split("=") for part in request.params.get("labelSelector", "").split(",") if part)
        items = [each for each in found["items"] if wanted.items() <= each["metadata"].get("labels", {}).items()]
        return found | {"items": items}

    def room_for(self, name: str) -> None:
        """Let what is stuck run."""
        del self.stuck[name]
        for (kind, namespace, each), found in list(self.objects.items()):
            if not found.deleted and each == name:
                if kind == JOBS:
                    self._setup_job(found, namespace, name)
                elif kind == PODS:
                    self._probe(found)
                elif kind.plural in ("deployments", "statefulsets"):
                    self._workload(found, namespace, name)

    # -- the controllers -----------------------------------------------------------------------

    def _controllers(self) -> None:
        for (kind, namespace, name), found in list(self.objects.items()):
            if found.deleted:
                continue
            if kind.plural in ("deployments", "statefulsets"):
                self._workload(found, namespace, name)
            elif kind.plural == "jobs" and name.startswith("eas-setup"):
                self._setup_job(found, namespace, name)
            elif kind.plural == "pods" and name == "eas-probe" and not found.raw.get("status"):
                self._probe(found)

    def _probe(self, found: Any) -> None:
        if stuck := self.stuck.get("eas-probe"):
            found.patch({"status": stuck})
            return
        statuses = [
            {"name": each["name"], "image": each["image"], "state": self._first_state(each["image"])}
            for each in found.raw["spec"]["containers"]
        ]
        ended = all(each["state"].get("terminated", {}).get("exitCode") == 0 for each in statuses)
        found.patch({"status": {"phase": "Succeeded" if ended else "Pending", "containerStatuses": statuses}})

    def _first_state(self, image: str) -> Object:
        said = self.bad_images.get(image)
        if said is None:
            return {"terminated": {"exitCode": 0}}
        if said:
            return {"terminated": {"exitCode": 1}}
        return {"waiting": {"reason": "ErrImagePull", "message": f"{image}: not found"}}

    def _probe_log(self, container: str) -> str:
        (probe,) = [each for each in self.everything() if each["metadata"]["name"] == "eas-probe"]
        image = next(each["image"] for each in probe["spec"]["containers"] if each["name"] == container)
        return self.bad_images.get(image, "")

    def _workload(self, found: Any, namespace: str, name: str) -> None:
        wanted = int(found.raw["spec"].get("replicas", 1))
        stuck = self.stuck.get(name)
        ready = 0 if stuck else wanted
        status = {
            "observedGeneration": found.raw["metadata"].get("generation", 1),
            "replicas": wanted,
            "updatedReplicas": wanted,
        }
        found.patch({"status": status | {"readyReplicas": ready, "availableReplicas": ready}})
        self._drop_pods("app.kubernetes.io/name", name)
        labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "eas"}
        if wanted:
            image = found.raw["spec"]["template"]["spec"]["containers"][0]["image"]
            self.add_pod(f"{name}-0", labels, stuck, namespace, image)

    def _setup_job(self, found: Any, namespace: str, name: str) -> None:
        if found.raw.get("status"):
            return
        labels = {"job-name": name, "app.kubernetes.io/part-of": "eas"}
        stuck = self.stuck.get(name)
        if stuck:
            self.add_pod(f"{name}-x", labels, stuck, namespace)
            return
        failed = any(name.startswith(each) for each in self.failing)
        found.patch({"status": {"conditions": [{"type": "Failed" if failed else "Complete", "status": "True"}]}})
        self.add_pod(f"{name}-x", labels, {"phase": "Failed" if failed else "Succeeded"}, namespace)

    def _drop_pods(self, label: str, value: str) -> None:
        for (kind, _, _), found in list(self.objects.items()):
            if kind == PODS and not found.deleted and found.raw["metadata"].get("labels", {}).get(label) == value:
                found.delete()


def _missing(old: Object, new: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths that one manifest has and another has not."""
    for key, value in old.items():
        if key not in new:
            yield (*path, key)
        elif isinstance(value, dict) and isinstance(new[key], dict):
            yield from _missing(value, new[key], (*path, key))


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
    """Return the input of the last setup Job."""
    name = max(cluster.all_of("Job"), key=str)
    (container,) = cluster.all_of("Job")[name]["spec"]["template"]["spec"]["containers"]
    return dict(json.loads(next(entry["value"] for entry in container["env"] if entry["name"] == "EAS_DEPLOYMENT")))
