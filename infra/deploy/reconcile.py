"""``python -m infra.deploy.reconcile``: compare pods and Jobs with SQL and Prefect, in a loop.

The database is authoritative, but without the reconciler a pod that was evicted, killed for memory or deleted counts as
lost only after a lease without heartbeats. Kubernetes reports event and reason immediately; the reconciler writes
both to the task database and to Prefect's run. Several may run at a time, and each may be killed at any point.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eas.app import App
from eas.errors import EASError
from eas.maintenance import release_lost_workers
from eas.taskdb.queries import status
from infra.deploy import alive, command, pods
from infra.deploy.client import Cluster, connect
from infra.deploy.flow_runs import FlowRuns
from infra.deploy.status import CONFIG_MAP, KEY
from infra.deploy.summary import summary

LOG = logging.getLogger("eas.reconcile")
Object = dict[str, Any]
JOBS = "eas-role=job"
RUN_ID = "prefect.io/flow-run-id"
EVERY = 5.0
ORPHAN_AGE = 60.0
"""Minimum time [s] since the end of a flow run before its Job is removed, so that it can end by itself."""
LOOPS = ("looks", "reports")
"""Loops of the reconciler, each with its own liveness file (`infra.deploy.alive`)."""
DELETED = "its pod was deleted"


@dataclass
class Seen:
    """Observations of the previous pass: flow runs by pod, and the reasons why deleted pods had ended."""

    runs: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)


def lost(alive_hosts: Mapping[str, str], found: Sequence[Object], namespace: str, seen: Seen) -> dict[str, str]:
    """Return why workers are gone, by worker id, of those that are alive in SQL and belong to ``namespace``.

    ``found`` must be listed after ``alive_hosts`` was read, because a pod exists before its worker. Pure.
    """
    by_host = {f"k8s:{namespace}/{pods.name_of(pod)}": pod for pod in found}
    gone = {}
    for worker_id, host in alive_hosts.items():
        pod = by_host.get(host)
        if pod is None:
            gone[worker_id] = seen.ends.get(host.partition("/")[2]) or DELETED
        elif pods.is_over(pod):
            gone[worker_id] = pods.end_of(pod) or "its pod has ended"
    return gone


def crashed(found: Sequence[Object], seen: Seen) -> dict[str, str]:
    """Return why flow runs crashed, by id: of pods that failed or disappeared since the last pass. Pure."""
    reasons = {}
    for pod in found:
        run = pod["metadata"].get("labels", {}).get(RUN_ID)
        if run and pod.get("status", {}).get("phase") == "Failed":
            reasons[run] = pods.end_of(pod)
    present = {pods.name_of(pod) for pod in found}
    for name, run in seen.runs.items():
        if name not in present:
            reasons.setdefault(run, seen.ends.get(name) or DELETED)
    return reasons


def remember(found: Sequence[Object], seen: Seen) -> None:
    """Record data for later passes; only running pods can disappear unexpectedly."""
    seen.ends = {pods.name_of(pod): end for pod in found if (end := pods.end_of(pod))}
    seen.runs = {
        pods.name_of(pod): pod["metadata"]["labels"][RUN_ID]
        for pod in found
        if RUN_ID in pod["metadata"].get("labels", {}) and not pods.is_over(pod)
    }


class Reconciler:
    """Compares pods and Jobs with SQL and Prefect periodically; one object per process."""

    def __init__(self, app: App, cluster: Cluster, runs: FlowRuns) -> None:
        self.app, self.cluster, self.runs = app, cluster, runs
        self.seen = Seen()
        # Kept while Prefect's server is unavailable, because the loss of a pod is detected only once.
        self.unreported: dict[str, str] = {}

    async def look(self) -> None:
        """Run one pass: compare, and correct the differences."""
        prefix = f"k8s:{self.cluster.namespace}/"
        hosts = self.app.database.fetch(lambda c: status.workers_in_pods(c, prefix))
        found = await self.cluster.list("Pod", JOBS)
        if gone := lost(hosts, found, self.cluster.namespace, self.seen):
            count = release_lost_workers.release_lost_workers(self.app.database, self.app.queue, gone)
            for worker_id, why in gone.items():
                LOG.warning("worker %s: %s", worker_id, why)
            LOG.warning("%d attempts returned to the queue", count)
        self.unreported |= crashed(found, self.seen)
        remember(found, self.seen)
        for run in await self.runs.crash(self.unreported):
            LOG.warning("flow run %s: crashed: %s", run, self.unreported[run])
        self.unreported = {}
        await self._remove_unowned(found)

    async def _remove_unowned(self, found: Sequence[Object]) -> None:
        """Delete Jobs that run or are pending although their flow run has ended or is unknown."""
        unfinished = [job for job in await self.cluster.list("Job", JOBS) if pods.is_unfinished(job)]
        owned = {pods.name_of(job): job["metadata"].get("labels", {}).get(RUN_ID, "") for job in unfinished}
        waiting = {
            owned.get(pod["metadata"].get("labels", {}).get("job-name", ""), "")
            for pod in found
            if pods.lacks_resources(pod)
        }
        over = await self.runs.over_for(set(owned.values()) - {""}, ORPHAN_AGE)
        over |= await self.runs.over_for(waiting - {""}, 0.0)
        for name, run in owned.items():
            if run in over:
                await self.cluster.delete("Job", name)
                LOG.warning("Job %s removed: its flow run %s has ended", name, run)

    async def report(self) -> None:
        """Write the data for `eas status`."""
        text = json.dumps(summary(self.app) | {"at": round(self.cluster.now().timestamp(), 1)}, sort_keys=True)
        await self.cluster.patch("ConfigMap", CONFIG_MAP, {"data": {KEY: text}})


async def run(namespace: str, prefect_url: str, stop: asyncio.Event) -> None:
    """Compare and report until ``stop`` is set; services that cannot be reached are tried again."""
    with App.load() as app:
        async with (
            connect(namespace) as cluster,
            FlowRuns(prefect_url, os.environ.get("PREFECT_API_AUTH_STRING", "")) as runs,
        ):
            reconciler = Reconciler(app, cluster, runs)
            steps = (reconciler.look, reconciler.report)
            # Separate loops, so that an unresponsive Prefect server delays the passes but not the reports.
            await asyncio.gather(*(_repeat(loop, step, stop) for loop, step in zip(LOOPS, steps, strict=True)))


async def _repeat(loop: str, step: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await step()
        except EASError as error:
            LOG.warning("%s", error)
        alive.touch(loop)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY)


async def _main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(os.environ.get("EAS_NAMESPACE") or "plato", os.environ["PREFECT_API_URL"], stop)


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    for loop in LOOPS:
        alive.touch(loop)
    return command.run(lambda: asyncio.run(_main()))


if __name__ == "__main__":
    sys.exit(main())
