"""A small client of the Kubernetes API for ``eas deploy`` and similar commands; objects are plain dictionaries.

Finding and authenticating with the cluster is left to ``kubernetes_asyncio``, which Prefect's worker
uses too: kubeconfig files with all their ways to log in, and the service stats inside a pod.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration
from kubernetes_asyncio.config.config_exception import ConfigException
from kubernetes_asyncio.stream import WsApiClient

from eas.errors import EASError, ServiceError

FIELD_MANAGER = "eas-deploy"
TIMEOUT = 30.0
OUTAGE = 60.0
"""Maximum outage of an API server that has answered before [s]; a control plane restarts faster."""
UNAVAILABLE = frozenset({429, 500, 502, 503, 504})
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
Object = dict[str, Any]


class ClusterError(ServiceError):
    """The cluster could not be reached, or refused the request."""


class NoRightsError(ClusterError):
    """The caller is authenticated, but not authorised."""


class Kind(NamedTuple):
    """API path of the objects of a kind."""

    api: str
    plural: str
    namespaced: bool = True


KINDS = {
    "ConfigMap": Kind("api/v1", "configmaps"),
    "CronJob": Kind("apis/batch/v1", "cronjobs"),
    "Deployment": Kind("apis/apps/v1", "deployments"),
    "Event": Kind("api/v1", "events"),
    "Job": Kind("apis/batch/v1", "jobs"),
    "Lease": Kind("apis/coordination.k8s.io/v1", "leases"),
    "Namespace": Kind("api/v1", "namespaces", namespaced=False),
    "NetworkPolicy": Kind("apis/networking.k8s.io/v1", "networkpolicies"),
    "Node": Kind("api/v1", "nodes", namespaced=False),
    "PersistentVolumeClaim": Kind("api/v1", "persistentvolumeclaims"),
    "Pod": Kind("api/v1", "pods"),
    "PriorityClass": Kind("apis/scheduling.k8s.io/v1", "priorityclasses", namespaced=False),
    "PodDisruptionBudget": Kind("apis/policy/v1", "poddisruptionbudgets"),
    "Role": Kind("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Kind("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": Kind("api/v1", "secrets"),
    "Service": Kind("api/v1", "services"),
    "ServiceAccount": Kind("api/v1", "serviceaccounts"),
    "StatefulSet": Kind("apis/apps/v1", "statefulsets"),
}


class Cluster:
    """One namespace of a cluster. Raises ClusterError and its subclasses, with a hint."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self.host = str(api.configuration.host)
        self._api = api
        self._answered = False
        self._date = datetime.now(UTC), time.monotonic()

    def now(self) -> datetime:
        """Return the API server's time, by its last answer; by this machine's clock before the first one.

        All who compare times of the namespace ask the same server: their own clocks may differ.
        """
        date, at = self._date
        return date + timedelta(seconds=time.monotonic() - at)

    async def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        return await self._ask("GET", self._path(kind, name), missing=True)

    async def list(self, kind: str, selector: str = "", fields: str = "") -> list[Object]:
        """Return the objects of a kind that match a label selector and a field selector."""
        query = {name: text for name, text in (("labelSelector", selector), ("fieldSelector", fields)) if text}
        found = await self._ask("GET", self._path(kind), query=query)
        return list((found or {}).get("items") or [])

    async def apply(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create or update an object by server-side apply; idempotent. A dry run stores nothing."""
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return await self._ask("PATCH", path, query=query, body=manifest, content=APPLY) or {}

    async def create(self, manifest: Object) -> Object:
        """Create an object that must not exist yet."""
        return await self._ask("POST", self._path(manifest["kind"]), body=manifest) or {}

    async def create_if_absent(self, manifest: Object) -> bool:
        """Create an object unless one with its name exists; return whether it was created."""
        return await self._ask("POST", self._path(manifest["kind"]), body=manifest, exists=True) is not None

    async def patch(self, kind: str, name: str, change: Object) -> Object | None:
        """Merge a change into an object; return None if it does not exist."""
        return await self._ask("PATCH", self._path(kind, name), body=change, content=MERGE, missing=True)

    async def replace(self, kind: str, name: str, change: Object, version: str) -> Object | None:
        """Merge a change into an object of this resource version; return None if the version has changed."""
        body = {"metadata": {"resourceVersion": version}} | change
        return await self._ask("PATCH", self._path(kind, name), body=body, content=MERGE, missing=True, exists=True)

    async def delete(self, kind: str, name: str, grace: int | None = None) -> bool:
        """Delete an object and its dependents; return whether it existed."""
        body: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        return await self._ask("DELETE", self._path(kind, name), body=body, missing=True) is not None

    async def log(self, pod: str, lines: int = 20, container: str = "") -> str:
        """Return the last lines of a container's log, or an empty string."""
        query = {"tailLines": str(lines)} | ({"container": container} if container else {})
        try:
            answer = await self._send("GET", f"{self._path('Pod', pod)}/log", query)
        except (ApiException, ClusterError):
            return ""
        return answer.decode("utf-8", "replace")

    async def execute(self, pod: str, container: str, command: Sequence[str], seconds: float) -> str:
        """Run a command in a container and return its standard output.

        Raises ClusterError where it cannot be run there, or has not ended after ``seconds``.
        """
        query = [("container", container), ("stdout", "true"), *(("command", each) for each in command)]
        headers: dict[str, str] = {}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"])
        url = f"{self.host}{self._path('Pod', pod)}/exec"
        try:
            async with WsApiClient(configuration=self._api.configuration) as api, asyncio.timeout(seconds):
                answer = await api.request("GET", url, query_params=query, headers=headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = str(error) or f"no answer within {seconds:g} s"
            raise ClusterError(f"{command[0]} cannot be run in pod {pod}: {what}", hint="see `eas status`") from None
        return bytes(answer.data).decode()

    # -- HTTP ----------------------------------------------------------------------------------

    def _path(self, kind: str, name: str = "") -> str:
        place = KINDS[kind]
        middle = f"/namespaces/{self.namespace}" if place.namespaced else ""
        return f"/{place.api}{middle}/{place.plural}" + (f"/{name}" if name else "")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
        missing: bool = False,
        exists: bool = False,
    ) -> Object | None:
        """Send a request; ``missing`` and ``exists`` mean that 404 and 409 are results, not errors."""
        try:
            answer = await self._send(method, path, query, body, content)
        except ApiException as error:
            if (missing and error.status == 404) or (exists and error.status == 409):
                return None
            raise _refusal(error, method, path, self.namespace) from None
        found = json.loads(answer)
        return found if isinstance(found, dict) else {}

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
    ) -> bytes:
        """Send a request; retry it for a limited time if the server has answered before."""
        deadline = time.monotonic() + OUTAGE
        pause = 0.2
        while True:
            try:
                answer = await self._send_once(method, path, query, body, content)
            except ApiException as error:
                self._answered = True
                if error.status not in UNAVAILABLE or time.monotonic() + pause > deadline:
                    raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not self._answered or time.monotonic() + pause > deadline:
                    raise ClusterError(
                        f"the Kubernetes cluster at {self.host} cannot be reached: {str(error) or 'no answer in time'}",
                        hint="start it (`minikube start`) or choose another one (`kubectl config use-context NAME`)",
                    ) from error
            else:
                self._answered = True
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _send_once(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Object | None, content: str
    ) -> bytes:
        headers = {"Accept": "application/json", "Content-Type": content}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"])
        answer = await self._api.rest_client.request(
            method,
            self.host + path,
            query_params=dict(query or {}),
            headers=headers,
            body=body,
            _request_timeout=TIMEOUT,
        )
        if date := answer.getheader("Date"):
            self._date = parsedate_to_datetime(date), time.monotonic()
        return bytes(answer.data)


@asynccontextmanager
async def connect(namespace: str, context: str | None = None) -> AsyncIterator[Cluster]:
    """Yield a cluster: the one of the kubeconfig or, inside a pod, the one it runs in."""
    settings = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and not _has_kubeconfig():
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        elif not _has_kubeconfig():
            raise ConfigException(f"there is no file {_kubeconfig()}")
        else:
            await config.load_kube_config(_kubeconfig(), context, client_configuration=settings)
    except (yaml.YAMLError, TypeError, AttributeError, ValueError, KeyError) as error:
        raise ClusterError(
            f"{_kubeconfig()} is not a valid kubeconfig file: {error}", hint="set KUBECONFIG to another one"
        ) from None
    except (ConfigException, OSError) as error:
        raise ClusterError(
            f"no Kubernetes cluster is configured: {error}",
            hint="start one (`minikube start`), or set KUBECONFIG to its kubeconfig file",
        ) from None
    async with ApiClient(configuration=settings) as api:
        yield Cluster(api, namespace)


async def namespace_exists(cluster: Cluster) -> bool:
    """Return whether the namespace exists; True if the caller may not read it."""
    try:
        return await cluster.get("Namespace", cluster.namespace) is not None
    except NoRightsError:
        return True


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _has_kubeconfig() -> bool:
    return any(Path(part).is_file() for part in _kubeconfig().split(os.pathsep) if part)


def _refusal(error: ApiException, method: str, path: str, namespace: str) -> EASError:
    """Return the error for a refused request, with a hint."""
    try:
        said = str(json.loads(error.body or b"{}").get("message") or error.reason)
    except (ValueError, AttributeError):
        said = str(error.reason)
    if error.status == 401:
        return NoRightsError(f"the cluster rejects your credentials: {said}", hint="log in to it, then try again")
    if error.status == 403:
        return NoRightsError(
            f"you are not authorised for this: {said}",
            hint=f"ask its administrator for the rights of `admin` in the namespace {namespace}",
        )
    return ClusterError(f"the cluster refused {method} {path}: {said}", hint="see the message; `eas status` shows more")
