"""``eas restart-workers``, ``eas restart-web-interface``, ``eas stop``: none of them loses work or data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from infra.deploy import pods, waiting
from infra.deploy.client import Cluster, ClusterError
from infra.deploy.progress import Progress

Object = dict[str, Any]
OURS = "app.kubernetes.io/part-of=eas"
JOBS = "eas-role=job"
WORK_FLOW = "prefect.io/flow-name"
STOPPED_FIRST = ("supervisor", "prefect-worker")
"""These would start what is being stopped anew."""


async def restart_workers(cluster: Cluster, progress: Progress, patience: waiting.Patience | None = None) -> list[str]:
    """Let every worker finish or hand back its task and leave; new ones start as the queues ask for them.

    Returns the pods that were asked to leave. Prefect's own worker is started anew at the end.
    """
    patience = patience or waiting.Patience()
    found = [pod for pod in await cluster.list("Pod", JOBS) if not pods.is_over(pod)]
    workers = {pods.name_of(pod) for pod in found if pod["metadata"].get("labels", {}).get(WORK_FLOW) == "work"}
    for name in sorted(workers):
        await cluster.delete("Pod", name)
    progress.say(f"{len(workers)} workers were asked to leave")
    await waiting.for_no_pods(cluster, JOBS, workers, progress, patience)
    await _roll(cluster, "prefect-worker", progress, patience)
    return sorted(workers)


async def restart_web_interface(cluster: Cluster, progress: Progress, patience: waiting.Patience | None = None) -> None:
    """Start the Prefect server anew; runs go on meanwhile."""
    await _roll(cluster, "prefect-server", progress, patience or waiting.Patience())


async def _roll(cluster: Cluster, name: str, progress: Progress, patience: waiting.Patience) -> None:
    stamp = {"kubectl.kubernetes.io/restartedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    change = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    changed = await cluster.patch("Deployment", name, change)
    if changed is None:
        raise ClusterError(
            f"there is no Deployment {name} in namespace {cluster.namespace}",
            cure="run `eas deploy`, or give --namespace",
        )
    await waiting.for_workloads(cluster, [changed | {"kind": "Deployment"}], progress, patience)
    progress.say(f"{name} was started anew")


async def stop(cluster: Cluster, progress: Progress, patience: waiting.Patience | None = None) -> list[str]:
    """Stop every pod, workers first, databases last; volumes, Secrets and all settings stay.

    Returns the names of the workloads that were stopped; twice changes nothing.
    """
    patience = patience or waiting.Patience()
    deployments = await cluster.list("Deployment", OURS)
    first = [each for each in deployments if pods.name_of(each) in STOPPED_FIRST]
    await _scale_down(cluster, "Deployment", first)
    for job in await cluster.list("CronJob", OURS):
        await cluster.patch("CronJob", pods.name_of(job), {"spec": {"suspend": True}})
    for job in await cluster.list("Job", JOBS):
        await cluster.delete("Job", pods.name_of(job))
    progress.say("workers were asked to leave")
    await waiting.for_no_pods(cluster, JOBS, None, progress, patience)
    rest = [each for each in deployments if pods.name_of(each) not in STOPPED_FIRST]
    await _scale_down(cluster, "Deployment", rest)
    databases = await cluster.list("StatefulSet", OURS)
    await _scale_down(cluster, "StatefulSet", databases)
    await waiting.for_no_pods(cluster, OURS, None, progress, patience)
    progress.say("everything is stopped; volumes stay. `eas deploy` starts it again")
    return sorted(pods.name_of(each) for each in [*deployments, *databases])


async def _scale_down(cluster: Cluster, kind: str, workloads: Sequence[Object]) -> None:
    for each in workloads:
        await cluster.patch(kind, pods.name_of(each), {"spec": {"replicas": 0}})
