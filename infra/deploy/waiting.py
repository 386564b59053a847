"""Waits until workloads are ready, a Job is done, or pods are gone; fails early on permanent errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.deploy import pods
from infra.deploy.client import Cluster, ClusterError
from infra.deploy.progress import Progress, Row
from infra.deploy.room import Room

Object = dict[str, Any]


class JobFailedError(ClusterError):
    """A Job ran and failed; its log says why."""


@dataclass
class Timeouts:
    """Timeouts [s]: in total, and for a problem that may resolve itself (a volume being created, a node added)."""

    total: float = 900.0
    trouble: float = 90.0
    interval: float = 1.0
    room: Room = field(default_factory=Room)
    _since: dict[str, float] = field(default_factory=dict)

    def check(self, found: Sequence[Object]) -> None:
        """Raise ClusterError if a problem of a pod has lasted too long."""
        now = time.monotonic()
        present = {pods.name_of(pod): trouble for pod in found if (trouble := pods.trouble(pod))}
        self._since = {name: self._since.get(name, now) for name in present}
        for name, trouble in present.items():
            if now - self._since[name] >= self.trouble:
                raise ClusterError(trouble.what, hint=trouble.hint)


async def check(cluster: Cluster, found: Sequence[Object], progress: Progress, timeouts: Timeouts) -> None:
    """Raise ClusterError if a problem has lasted too long; stop workers if only they occupy the resources."""
    crowded = await timeouts.room.make(cluster, found, progress)
    timeouts.check([pod for pod in found if not (crowded and pods.lacks_resources(pod))])


async def _until(
    timeouts: Timeouts, what: str, look: Callable[[], Awaitable[Sequence[Row] | None]], progress: Progress
) -> None:
    """Call ``look`` until it returns None; it returns what is still pending otherwise."""
    deadline = time.monotonic() + timeouts.total
    while True:
        rows = await look()
        if rows is None:
            return
        progress.update(rows)
        if time.monotonic() >= deadline:
            states = "; ".join(f"{name}: {state}" for name, state in rows)
            raise ClusterError(f"{what}: not reached within {timeouts.total:.0f} s ({states})", hint="see `eas status`")
        await asyncio.sleep(timeouts.interval)


async def for_workloads(cluster: Cluster, workloads: Sequence[Object], progress: Progress, timeouts: Timeouts) -> None:
    """Wait until Deployments and StatefulSets run as declared."""

    async def look() -> Sequence[Row] | None:
        found = [(each, await cluster.get(each["kind"], pods.name_of(each))) for each in workloads]
        late = [(wanted, now) for wanted, now in found if not is_rolled_out(now)]
        if not late:
            return None
        theirs = [pod for pod in await cluster.list("Pod", "app.kubernetes.io/part-of=eas") if not _is_job(pod)]
        names = {pods.name_of(wanted) for wanted, _ in late}
        concerned = [pod for pod in theirs if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") in names]
        await check(cluster, concerned, progress, timeouts)
        return [(pods.name_of(wanted), _state(now, wanted, concerned)) for wanted, now in late]

    await _until(timeouts, "the pods to be ready", look, progress)


def _is_job(pod: Object) -> bool:
    return "job-name" in pod["metadata"].get("labels", {})


def is_rolled_out(workload: Object | None) -> bool:
    """Whether a Deployment or StatefulSet, as the API describes it, runs its latest specification."""
    if workload is None:
        return False
    status, wanted = workload.get("status") or {}, int(workload["spec"].get("replicas", 1))
    if int(status.get("observedGeneration", -1)) < int(workload["metadata"].get("generation", 0)):
        return False
    ready = status.get("availableReplicas" if workload["kind"] == "Deployment" else "readyReplicas") or 0
    updated = status.get("updatedReplicas") or 0
    return int(ready) >= wanted and int(updated) >= wanted and int(status.get("replicas") or 0) == wanted


def _state(workload: Object | None, wanted: Object, found: Sequence[Object]) -> str:
    name = pods.name_of(wanted)
    own = [pod for pod in found if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") == name]
    if workload is None:
        return "being made"
    if not own:
        return "no pod yet"
    return ", ".join(pods.table_row(pod)[1] for pod in own)


async def for_job(cluster: Cluster, name: str, progress: Progress, timeouts: Timeouts) -> None:
    """Wait until a Job is done; raise ClusterError with the last lines of its log if it fails."""

    async def look() -> Sequence[Row] | None:
        job = await cluster.get("Job", name)
        if job is None:
            raise ClusterError(f"the Job {name} was deleted before it finished", hint="deploy again")
        conditions = {
            each["type"] for each in job.get("status", {}).get("conditions") or [] if each["status"] == "True"
        }
        if "Complete" in conditions:
            return None
        own = await cluster.list("Pod", f"job-name={name}")
        if "Failed" in conditions:
            log = "\n".join([await cluster.log(pods.name_of(pod)) for pod in own[-1:]])
            raise JobFailedError(
                f"the Job {name} failed:\n{log.strip() or 'its log is gone'}", hint="fix that, then deploy again"
            )
        await check(cluster, own, progress, timeouts)
        return [(name, await _state_of_job(cluster, own))]

    await _until(timeouts, f"the Job {name}", look, progress)


async def _state_of_job(cluster: Cluster, own: Sequence[Object]) -> str:
    """Return the state of each pod of a Job, and the last line that the newest one wrote."""
    states = ", ".join(pods.table_row(pod)[1] for pod in own) or "no pod yet"
    running = [pod for pod in own if pod.get("status", {}).get("phase") == "Running"]
    lines = (await cluster.log(pods.name_of(running[-1]), lines=1)).strip() if running else ""
    return f"{states}: {lines}" if lines else states


async def remove_job(cluster: Cluster, name: str, progress: Progress, timeouts: Timeouts) -> None:
    """Delete a Job and wait until none of its pods is running. Idempotent."""
    await cluster.delete("Job", name)
    await for_no_pods(cluster, f"job-name={name}", None, progress, timeouts)


async def for_no_pods(
    cluster: Cluster, selector: str, names: set[str] | None, progress: Progress, timeouts: Timeouts
) -> None:
    """Wait until no pod that matches ``selector`` (and, if given, is in ``names``) is running."""

    async def look() -> Sequence[Row] | None:
        left = [pod for pod in await cluster.list("Pod", selector) if not pods.is_over(pod)]
        if names is not None:
            left = [pod for pod in left if pods.name_of(pod) in names]
        return [pods.table_row(pod)[:2] for pod in left] or None

    await _until(timeouts, "pods to leave", look, progress)
