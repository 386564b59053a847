"""``python -m infra.deploy.reconcile``: pods and Jobs compared with SQL and Prefect, again and again.

SQL says what is true, but it learns of a pod that was evicted, killed for memory or deleted only when
heartbeats have stopped for a whole lease. Kubernetes knows at once, and why: its word is written into
SQL and into Prefect's run. Any number of these may run, and be killed at any line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eas.app import App
from eas.control import lost_workers, scaling
from eas.errors import EASError
from eas.taskdb import overview
from infra.deploy import alive, command, pods
from infra.deploy.client import Cluster, connect
from infra.deploy.flow_runs import FlowRuns
from infra.deploy.status import CONFIG_MAP, KEY

LOG = logging.getLogger("eas.reconcile")
Object = dict[str, Any]
JOBS = "eas-role=job"
RUN_ID = "prefect.io/flow-run-id"
EVERY = 5.0
ORPHAN_AGE = 60.0
"""A Job whose flow run has been over for so long [s] is removed: it had time to end by itself."""
DELETED = "its pod was deleted"
MOST_MESSAGE = 300


@dataclass
class Seen:
    """What the last look saw: flow runs by pod, and why pods ended that are gone by now."""

    runs: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)


def lost(alive_hosts: Mapping[str, str], found: Sequence[Object], namespace: str, seen: Seen) -> dict[str, str]:
    """Return why workers are gone, by worker id, of those that SQL believes alive in pods of ``namespace``.

    ``found`` must have been listed after ``alive_hosts`` was read: a pod is there before its worker. Pure.
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
    """Return why flow runs crashed, by id: of pods that failed, and that vanished since the last look. Pure."""
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
    """Note what a later look may need; only what runs can vanish unexpectedly."""
    seen.ends = {pods.name_of(pod): end for pod in found if (end := pods.end_of(pod))}
    seen.runs = {
        pods.name_of(pod): pod["metadata"]["labels"][RUN_ID]
        for pod in found
        if RUN_ID in pod["metadata"].get("labels", {}) and not pods.is_over(pod)
    }


def is_unfinished(job: Object) -> bool:
    """Whether a Job has pods that run or may run."""
    conditions = job.get("status", {}).get("conditions") or []
    return not any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


class Reconciler:
    """Compares, again and again; one object serves one process."""

    def __init__(self, app: App, cluster: Cluster, runs: FlowRuns) -> None:
        self.app, self.cluster, self.runs = app, cluster, runs
        self.seen = Seen()
        # Kept while Prefect's server is away: a pod that vanishes is noticed once.
        self.untold: dict[str, str] = {}

    async def look(self) -> None:
        """Compare once, and mend what differs."""
        prefix = f"k8s:{self.cluster.namespace}/"
        hosts = self.app.database.fetch(lambda c: overview.alive_on(c, prefix))
        found = await self.cluster.list("Pod", JOBS)
        if gone := lost(hosts, found, self.cluster.namespace, self.seen):
            count = lost_workers.bury(self.app.database, self.app.queue, gone)
            for worker_id, why in gone.items():
                LOG.warning("worker %s: %s", worker_id, why)
            LOG.warning("%d attempts handed back", count)
        self.untold |= crashed(found, self.seen)
        remember(found, self.seen)
        for run in await self.runs.crash(self.untold):
            LOG.warning("flow run %s: crashed: %s", run, self.untold[run])
        self.untold = {}
        await self._remove_orphans()

    async def _remove_orphans(self) -> None:
        """Delete Jobs whose flow run is over, or unknown, and that go on all the same."""
        unfinished = [job for job in await self.cluster.list("Job", JOBS) if is_unfinished(job)]
        owned = {pods.name_of(job): job["metadata"].get("labels", {}).get(RUN_ID, "") for job in unfinished}
        over = await self.runs.over_for(set(owned.values()) - {""}, ORPHAN_AGE)
        for name, run in owned.items():
            if run in over:
                await self.cluster.delete("Job", name)
                LOG.warning("Job %s removed: its flow run %s is over", name, run)

    async def tell(self) -> None:
        """Write what `eas status` shows."""
        text = json.dumps(summary(self.app), sort_keys=True)
        await self.cluster.patch("ConfigMap", CONFIG_MAP, {"data": {KEY: text}})


def summary(app: App) -> Object:
    """Return queues, workers, unfinished jobs and the last errors as plain data, without secrets."""
    loads = scaling.survey(app.database, app.registry, lease=app.settings.lease)
    jobs, errors = app.database.fetch(lambda c: (overview.unfinished_jobs(c), overview.last_errors(c)))
    return {
        "at": round(time.time(), 1),
        "queues": [
            {"worker_type": each.worker_type, "queued": each.queued, "running": each.running, "workers": each.workers}
            for each in loads
        ],
        "jobs": [{"id": row.id, "name": row.name, "state": row.state} for row in jobs],
        "errors": [
            {
                "at": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.logged_at)),
                "job": row.job_name,
                "message": row.message[:MOST_MESSAGE],
            }
            for row in errors
        ],
    }


async def run(namespace: str, prefect_url: str, stop: asyncio.Event) -> None:
    """Look and tell until told to stop; what cannot be reached for now is tried again."""
    with App.load() as app:
        async with connect(namespace) as cluster, FlowRuns(prefect_url) as runs:
            reconciler = Reconciler(app, cluster, runs)
            while not stop.is_set():
                try:
                    await reconciler.look()
                    await reconciler.tell()
                except EASError as error:
                    LOG.warning("%s", error)
                alive.touch()
                try:
                    await asyncio.wait_for(stop.wait(), EVERY)
                except TimeoutError:
                    continue


async def _main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(os.environ.get("EAS_NAMESPACE") or "plato", os.environ["PREFECT_API_URL"], stop)


def main() -> int:
    """Run until told to stop; return the exit code."""
    alive.touch()
    return command.run(lambda: asyncio.run(_main()))


if __name__ == "__main__":
    sys.exit(main())
