"""Free space of the services' volumes, read in pods that mount them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from infra.deploy import pods
from infra.deploy.client import Cluster, ClusterError

Object = dict[str, Any]
TIMEOUT = 10.0
"""Maximum time for the answer of a pod [s]."""


class Mount(NamedTuple):
    """Mount of a volume: name of its claim, pod, container, path."""

    claim: str
    pod: str
    container: str
    path: str


def mounts(present: Iterable[Object]) -> dict[str, Mount]:
    """Return one mount of each volume claim of the running services; workers and other Jobs are not asked."""
    found: dict[str, Mount] = {}
    for pod in present:
        if pod["metadata"].get("labels", {}).get("eas-role") == "job" or not pods.is_ready(pod):
            continue
        claims = {
            each["name"]: each["persistentVolumeClaim"]["claimName"]
            for each in pod["spec"].get("volumes") or ()
            if "persistentVolumeClaim" in each
        }
        for container in pod["spec"]["containers"]:
            for each in container.get("volumeMounts") or ():
                if claim := claims.get(each["name"]):
                    found.setdefault(claim, Mount(claim, pods.name_of(pod), container["name"], each["mountPath"]))
    return found


async def free_space(cluster: Cluster, present: Iterable[Object], *, but: Collection[str] = ()) -> dict[str, Object]:
    """Return ``free`` and ``total`` of each volume [bytes], ``but`` of some; one that cannot be asked is left out."""
    wanted = sorted(mount for claim, mount in mounts(present).items() if claim not in but)
    answers = await asyncio.gather(*(_ask(cluster, each) for each in wanted))
    return {mount.claim: answer for mount, answer in zip(wanted, answers, strict=True) if answer}


async def _ask(cluster: Cluster, mount: Mount) -> Object | None:
    try:
        said = await cluster.execute(mount.pod, mount.container, ("df", "-Pk", mount.path), TIMEOUT)
        return _parsed(said)
    except (ClusterError, ValueError, IndexError):
        return None


def _parsed(said: str) -> Object:
    """Parse the output of POSIX ``df -Pk``: a header, then device, blocks of 1,024 bytes, used, free, ..."""
    _, total, _, free = said.strip().splitlines()[-1].split()[:4]
    return {"total": int(total) * 1024, "free": int(free) * 1024}
