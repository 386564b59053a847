"""A small client of the Kubernetes API: what ``eas deploy`` and its like need, as plain dictionaries.

Finding and authenticating with the cluster is left to ``kubernetes_asyncio``, which Prefect's worker
uses too: kubeconfig files with all their ways to log in, and the service account inside a pod.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration
from kubernetes_asyncio.config.config_exception import ConfigException

from eas.errors import EASError, ServiceError

FIELD_MANAGER = "eas-deploy"
TIMEOUT = 30.0
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
Object = dict[str, Any]


class ClusterError(ServiceError):
    """The cluster could not be reached, or refused what was asked of it."""


class NoRightsError(ClusterError):
    """The cluster knows who asks, and that they may not."""


class Kind(NamedTuple):
    """Where the API keeps objects of a kind."""

    api: str
    plural: str
    namespaced: bool = True


KINDS = {
    "ConfigMap": Kind("api/v1", "configmaps"),
    "CronJob": Kind("apis/batch/v1", "cronjobs"),
    "Deployment": Kind("apis/apps/v1", "deployments"),
    "Event": Kind("api/v1", "events"),
    "Job": Kind("apis/batch/v1", "jobs"),
    "Namespace": Kind("api/v1", "namespaces", namespaced=False),
    "NetworkPolicy": Kind("apis/networking.k8s.io/v1", "networkpolicies"),
    "Node": Kind("api/v1", "nodes", namespaced=False),
    "PersistentVolumeClaim": Kind("api/v1", "persistentvolumeclaims"),
    "Pod": Kind("api/v1", "pods"),
    "PodDisruptionBudget": Kind("apis/policy/v1", "poddisruptionbudgets"),
    "Role": Kind("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Kind("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": Kind("api/v1", "secrets"),
    "Service": Kind("api/v1", "services"),
    "ServiceAccount": Kind("api/v1", "serviceaccounts"),
    "StatefulSet": Kind("apis/apps/v1", "statefulsets"),
}


class Cluster:
    """One namespace of a cluster. Raises ClusterError and its children, with what to do."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self.host = str(api.configuration.host)
        self._api = api

    async def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None where there is none."""
        return await self._ask("GET", self._path(kind, name), missing=True)

    async def list(self, kind: str, selector: str = "", fields: str = "") -> list[Object]:
        """Return the objects of a kind that a label selector and a field selector choose."""
        query = {name: text for name, text in (("labelSelector", selector), ("fieldSelector", fields)) if text}
        found = await self._ask("GET", self._path(kind), query=query)
        return list((found or {}).get("items") or [])

    async def apply(self, manifest: Object) -> Object:
        """Make an object, or change it to what ``manifest`` says: server-side apply, so twice changes nothing."""
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._ask("PATCH", path, query=query, body=manifest, content=APPLY) or {}

    async def create(self, manifest: Object) -> Object:
        """Make an object that must not be there yet."""
        return await self._ask("POST", self._path(manifest["kind"]), body=manifest) or {}

    async def create_if_absent(self, manifest: Object) -> bool:
        """Make an object unless there is one of its name; return whether it was made."""
        return await self._ask("POST", self._path(manifest["kind"]), body=manifest, exists=True) is not None

    async def patch(self, kind: str, name: str, change: Object) -> Object | None:
        """Merge a change into an object; None where there is no such object."""
        return await self._ask("PATCH", self._path(kind, name), body=change, content=MERGE, missing=True)

    async def delete(self, kind: str, name: str, grace: int | None = None) -> bool:
        """Delete an object and, after it, what belongs to it; return whether it was there."""
        body: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        return await self._ask("DELETE", self._path(kind, name), body=body, missing=True) is not None

    async def log(self, pod: str, lines: int = 20) -> str:
        """Return the last lines that a pod's container wrote; empty where there are none to be had."""
        try:
            answer = await self._send("GET", f"{self._path('Pod', pod)}/log", {"tailLines": str(lines)})
        except (ApiException, ClusterError):
            return ""
        return answer.decode("utf-8", "replace")

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
        """Send a request; ``missing`` and ``exists`` say that 404 and 409 are answers, not errors."""
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
        headers = {"Accept": "application/json", "Content-Type": content}
        parameters = dict(query or {})
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"])
            answer = await self._api.rest_client.request(
                method, self.host + path, query_params=parameters, headers=headers, body=body, _request_timeout=TIMEOUT
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(
                f"the Kubernetes cluster at {self.host} cannot be reached: {error or 'no answer in time'}",
                cure="start it (`minikube start`) or choose another one (`kubectl config use-context NAME`)",
            ) from error
        return bytes(answer.data)


@asynccontextmanager
async def connect(namespace: str, context: str | None = None) -> AsyncIterator[Cluster]:
    """Give a cluster: the one of the kubeconfig, or, inside a pod, the one around it."""
    settings = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and not _has_kubeconfig():
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        elif not _has_kubeconfig():
            raise ConfigException(f"there is no file {_kubeconfig()}")
        else:
            await config.load_kube_config(_kubeconfig(), context, client_configuration=settings)
    except (ConfigException, OSError, TypeError) as error:
        raise ClusterError(
            f"no Kubernetes cluster is configured: {error}",
            cure="start one (`minikube start`), or name its kubeconfig file in KUBECONFIG",
        ) from None
    async with ApiClient(configuration=settings) as api:
        yield Cluster(api, namespace)


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _has_kubeconfig() -> bool:
    return any(Path(part).is_file() for part in _kubeconfig().split(os.pathsep) if part)


def _refusal(error: ApiException, method: str, path: str, namespace: str) -> EASError:
    """Return what a refusal means, with what to do."""
    try:
        said = str(json.loads(error.body or b"{}").get("message") or error.reason)
    except (ValueError, AttributeError):
        said = str(error.reason)
    if error.status == 401:
        return NoRightsError(f"the cluster does not know you: {said}", cure="log in to it, then try again")
    if error.status == 403:
        return NoRightsError(
            f"the cluster does not let you do this: {said}",
            cure=f"ask its administrator for the rights of `admin` in the namespace {namespace}",
        )
    return ClusterError(f"the cluster refused {method} {path}: {said}", cure="see the message; `eas status` shows more")
