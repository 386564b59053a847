"""Frees resources for services on a full node: stops EAS workers one by one, if they are the only obstacle.

A stopped worker finishes its task or returns it to the queue, within its grace period.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.deploy import pods
from infra.deploy.client import Cluster
from infra.deploy.progress import Progress

Object = dict[str, Any]
WORKERS = "eas-role=job,prefect.io/flow-name=work"
EVERY = 15.0
"""Delay between stopping two workers [s], so that the scheduler can use the resources of the first one."""


@dataclass
class Room:
    """The workers that one command has stopped to free resources."""

    asked_at: float | None = None

    async def make(self, cluster: Cluster, waiting: Sequence[Object], progress: Progress) -> bool:
        """Stop a worker if a pod of ``waiting`` needs resources that workers occupy; return whether they do."""
        crowded = [pod for pod in waiting if pods.lacks_resources(pod)]
        if not crowded:
            return False
        workers = [pod for pod in await cluster.list("Pod", WORKERS) if not pods.is_over(pod)]
        staying = [pod for pod in workers if not pod["metadata"].get("deletionTimestamp")]
        now = time.monotonic()
        if staying and (self.asked_at is None or now - self.asked_at >= EVERY):
            self.asked_at = now
            staying.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
            staying.sort(key=lambda pod: pod.get("status", {}).get("phase") == "Running")
            name = pods.name_of(staying[0])  # a pending one first, else the newest
            await cluster.delete("Pod", name)
            progress.print_line(
                f"{pods.name_of(crowded[0])} waits for room that workers have: {name} was asked to exit"
            )
        return bool(workers)
