"""Wait until workloads are ready, a Job is done, or pods are gone; say early what will never come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.deploy import pods
from infra.deploy.client import Cluster, ClusterError
from infra.deploy.progress import Progress, Row

Object = dict[str, Any]


@dataclass
class Patience:
    """How long to wait [s]: in all, and for a trouble that may mend itself (a volume being made, a node added)."""

    total: float = 900.0
    trouble: float = 90.0
    interval: float = 1.0
    _since: dict[str, float] = field(default_factory=dict)

    def check(self, found: Sequence[Object]) -> None:
        """Raise ClusterError for a trouble of a pod that has lasted too long."""
        now = time.monotonic()
        present = {pods.name_of(pod): trouble for pod in found if (trouble := pods.trouble(pod))}
        self._since = {name: self._since.get(name, now) for name in present}
        for name, trouble in present.items():
            if now - self._since[name] >= self.trouble:
                raise ClusterError(trouble.what, cure=trouble.cure)


async def _until(
    patience: Patience, what: str, look: Callable[[], Awaitable[Sequence[Row] | None]], progress: Progress
) -> None:
    """Call ``look`` until it returns None; it returns what is still waited for otherwise."""
    deadline = time.monotonic() + patience.total
    while True:
        rows = await look()
        if rows is None:
            return
        progress.waiting(rows)
        if time.monotonic() >= deadline:
            states = "; ".join(f"{name}: {state}" for name, state in rows)
            raise ClusterError(f"waited {patience.total:.0f} s in vain for {what} ({states})", cure="see `eas status`")
        await asyncio.sleep(patience.interval)


async def for_workloads(cluster: Cluster, workloads: Sequence[Object], progress: Progress, patience: Patience) -> None:
    """Wait until Deployments and StatefulSets run as declared."""

    async def look() -> Sequence[Row] | None:
        found = [(each, await cluster.get(each["kind"], pods.name_of(each))) for each in workloads]
        late = [(wanted, now) for wanted, now in found if not is_rolled_out(now)]
        if not late:
            return None
        theirs = [pod for pod in await cluster.list("Pod", "app.kubernetes.io/part-of=eas") if not _is_job(pod)]
        names = {pods.name_of(wanted) for wanted, _ in late}
        concerned = [pod for pod in theirs if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") in names]
        patience.check(concerned)
        return [(pods.name_of(wanted), _state(now, wanted, concerned)) for wanted, now in late]

    await _until(patience, "the pods to be ready", look, progress)


def _is_job(pod: Object) -> bool:
    return "job-name" in pod["metadata"].get("labels", {})


def is_rolled_out(workload: Object | None) -> bool:
    """Whether a Deployment or StatefulSet, as the API describes it, runs what it was last told to."""
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


async def for_job(cluster: Cluster, name: str, progress: Progress, patience: Patience) -> None:
    """Wait until a Job is done; raise ClusterError with the last lines of its log if it fails."""

    async def look() -> Sequence[Row] | None:
        job = await cluster.get("Job", name)
        if job is None:
            raise ClusterError(f"the Job {name} is gone before it was done", cure="deploy again")
        conditions = {
            each["type"] for each in job.get("status", {}).get("conditions") or [] if each["status"] == "True"
        }
        if "Complete" in conditions:
            return None
        own = await cluster.list("Pod", f"job-name={name}")
        if "Failed" in conditions:
            log = "\n".join([await cluster.log(pods.name_of(pod)) for pod in own[-1:]])
            raise ClusterError(
                f"the Job {name} failed:\n{log.strip() or 'its log is gone'}", cure="mend that, then deploy again"
            )
        patience.check(own)
        return [(name, ", ".join(pods.table_row(pod)[1] for pod in own) or "no pod yet")]

    await _until(patience, f"the Job {name}", look, progress)


async def for_no_pods(
    cluster: Cluster, selector: str, names: set[str] | None, progress: Progress, patience: Patience
) -> None:
    """Wait until no pod that ``selector`` chooses (and, if given, that ``names`` holds) is left running."""

    async def look() -> Sequence[Row] | None:
        left = [pod for pod in await cluster.list("Pod", selector) if not pods.is_over(pod)]
        if names is not None:
            left = [pod for pod in left if pods.name_of(pod) in names]
        return [pods.table_row(pod)[:2] for pod in left] or None

    await _until(patience, "pods to leave", look, progress)
