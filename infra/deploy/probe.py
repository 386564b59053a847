"""Checks in a separate pod that images can be pulled and start, before running services are changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from infra.deploy import pods, waiting
from infra.deploy.client import Cluster, ClusterError
from infra.deploy.progress import Progress

Object = dict[str, Any]
NAME = "eas-probe"
MAX_LOG_CHARS = 2000


def pod(namespace: str, eas_images: Iterable[str], third_party_images: Iterable[str]) -> Object:
    """Return a pod with a container for each image: those of EAS must run `eas`, others any command."""
    commands = {image: ["true"] for image in third_party_images} | {
        image: ["python", "-m", "eas", "--version"] for image in eas_images
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "eas"},
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "eas-job",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": 1800,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(number, image, commands[image]) for number, image in enumerate(sorted(commands))],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def _container(number: int, image: str, command: list[str]) -> Object:
    return {
        "name": f"image-{number}",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "EAS_HOME", "value": "/tmp/eas"}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


async def images(
    cluster: Cluster, ours: Iterable[str], others: Iterable[str], progress: Progress, timeouts: waiting.Timeouts
) -> None:
    """Run the probe. Raises ClusterError for an image that cannot be pulled or does not start."""
    manifest = pod(cluster.namespace, ours, others)
    names = [str(each["image"]) for each in manifest["spec"]["containers"]]
    if not names:
        return
    await remove(cluster, progress, timeouts)
    await cluster.create(manifest)
    try:
        await _wait(cluster, progress, timeouts)
    finally:
        await cluster.delete("Pod", NAME, grace=0)
    progress.print_line(f"images that can be pulled and start: {', '.join(names)}")


async def remove(cluster: Cluster, progress: Progress, timeouts: waiting.Timeouts) -> None:
    """Remove the probe that a killed command has left."""
    if await cluster.delete("Pod", NAME, grace=0):
        await waiting.for_no_pods(cluster, f"app.kubernetes.io/name={NAME}", None, progress, timeouts)


async def _wait(cluster: Cluster, progress: Progress, timeouts: waiting.Timeouts) -> None:
    deadline = time.monotonic() + timeouts.total
    while True:
        found = await cluster.get("Pod", NAME)
        if found is None:
            raise ClusterError(f"the pod {NAME} was deleted before it finished", hint="deploy again")
        statuses = found.get("status", {}).get("containerStatuses") or []
        await _raise_if_failed(cluster, statuses)
        if found.get("status", {}).get("phase") == "Succeeded":
            return
        await waiting.check(cluster, [found], progress, timeouts)
        progress.update([(NAME, _state(found, statuses))])
        if time.monotonic() >= deadline:
            raise ClusterError(f"the images were not pulled within {timeouts.total:.0f} s", hint="see `eas status`")
        await asyncio.sleep(timeouts.interval)


async def _raise_if_failed(cluster: Cluster, statuses: Sequence[Object]) -> None:
    for each in statuses:
        ended = (each.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            log = (await cluster.log(NAME, container=str(each["name"]))).strip()[-MAX_LOG_CHARS:]
            raise ClusterError(
                f"the image {each.get('image', '')} does not start: {log or pods.death(each)}; nothing was changed",
                hint="build and load the images (`make images`), or give another --tag",
            )


def _state(found: Object, statuses: Sequence[Object]) -> str:
    done = sum("terminated" in (each.get("state") or {}) for each in statuses)
    return f"{pods.table_row(found)[1]}, {done} of {len(found['spec']['containers'])} images started"
