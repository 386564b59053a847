"""``eas restart-workers``, ``eas restart-web-interface``, ``eas stop``: none of them loses work or data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from infra.deploy import pods, probe, waiting
from infra.deploy.client import Cluster, ClusterError
from infra.deploy.progress import Progress

Object = dict[str, Any]
EAS_SELECTOR = "app.kubernetes.io/part-of=eas"
JOB_SELECTOR = "eas-role=job"
SETUP_SELECTOR = "app.kubernetes.io/name=eas-setup"
WORK_FLOW = "prefect.io/flow-name"
STOP_FIRST = ("supervisor", "prefect-worker")
"""Workloads that are stopped first, because they would restart the others."""
WEB_INTERFACES = ("prefect-server", "eas-web")


async def restart_workers(cluster: Cluster, progress: Progress, timeouts: waiting.Timeouts | None = None) -> list[str]:
    """Stop every worker after it has finished or returned its tasks; the scaler starts new ones on demand.

    Returns the pods that received SIGTERM. The Prefect worker is restarted at the end.
    """
    timeouts = timeouts or waiting.Timeouts()
    found = [pod for pod in await cluster.list("Pod", JOB_SELECTOR) if not pods.is_over(pod)]
    workers = {pods.name_of(pod) for pod in found if pod["metadata"].get("labels", {}).get(WORK_FLOW) == "work"}
    for name in sorted(workers):
        await cluster.delete("Pod", name)
    progress.print_line(f"{len(workers)} workers were asked to exit")
    await waiting.for_no_pods(cluster, JOB_SELECTOR, workers, progress, timeouts)
    await _rollout_restart(cluster, "prefect-worker", progress, timeouts)
    return sorted(workers)


async def restart_web_interface(cluster: Cluster, progress: Progress, timeouts: waiting.Timeouts | None = None) -> None:
    """Restart the Prefect server and `eas web`; jobs continue meanwhile."""
    for name in WEB_INTERFACES:
        await _rollout_restart(cluster, name, progress, timeouts or waiting.Timeouts())


async def _rollout_restart(cluster: Cluster, name: str, progress: Progress, timeouts: waiting.Timeouts) -> None:
    stamp = {"kubectl.kubernetes.io/restartedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    change = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    changed = await cluster.patch("Deployment", name, change)
    if changed is None:
        raise ClusterError(
            f"there is no Deployment {name} in namespace {cluster.namespace}",
            hint="run `eas deploy`, or give --namespace",
        )
    await waiting.for_workloads(cluster, [changed | {"kind": "Deployment"}], progress, timeouts)
    progress.print_line(f"{name} was restarted")


async def stop(cluster: Cluster, progress: Progress, timeouts: waiting.Timeouts | None = None) -> list[str]:
    """Stop every pod, workers first, databases last; volumes, Secrets and all settings stay.

    Returns the names of the stopped workloads. Idempotent.
    """
    timeouts = timeouts or waiting.Timeouts()
    for job in await cluster.list("Job", SETUP_SELECTOR):
        if pods.is_unfinished(job):  # of a command that was killed
            await cluster.delete("Job", pods.name_of(job))
    for pod in await cluster.list("Pod", f"app.kubernetes.io/name={probe.NAME}"):
        await cluster.delete("Pod", pods.name_of(pod), grace=0)
    deployments = await cluster.list("Deployment", EAS_SELECTOR)
    first = [each for each in deployments if pods.name_of(each) in STOP_FIRST]
    await _scale_down(cluster, "Deployment", first)
    for job in await cluster.list("CronJob", EAS_SELECTOR):
        await cluster.patch("CronJob", pods.name_of(job), {"spec": {"suspend": True}})
    for job in await cluster.list("Job", JOB_SELECTOR):
        await cluster.delete("Job", pods.name_of(job))
    progress.print_line("workers were asked to exit")
    await waiting.for_no_pods(cluster, JOB_SELECTOR, None, progress, timeouts)
    rest = [each for each in deployments if pods.name_of(each) not in STOP_FIRST]
    await _scale_down(cluster, "Deployment", rest)
    databases = await cluster.list("StatefulSet", EAS_SELECTOR)
    await _scale_down(cluster, "StatefulSet", databases)
    await waiting.for_no_pods(cluster, EAS_SELECTOR, None, progress, timeouts)
    progress.print_line("everything is stopped; volumes stay. `eas deploy` starts it again")
    return sorted(pods.name_of(each) for each in [*deployments, *databases])


async def _scale_down(cluster: Cluster, kind: str, workloads: Sequence[Object]) -> None:
    for each in workloads:
        await cluster.patch(kind, pods.name_of(each), {"spec": {"replicas": 0}})
