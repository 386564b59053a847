"""``eas status``: pods, queues, workers and the last errors, on one screen."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from infra.deploy import pods
from infra.deploy.client import Cluster

Object = dict[str, Any]
CONFIG_MAP = "eas-status"
KEY = "status.json"
STALE = 120.0
"""The reconciler writes every few seconds; what is older than this [s] is called old."""
SELECTORS = ("app.kubernetes.io/part-of=eas", "eas-role=job")


@dataclass(frozen=True)
class Status:
    """What a namespace holds; ``inside`` is what the reconciler wrote last, None where it never did."""

    namespace: str
    rows: list[tuple[str, str, str, str]]
    troubles: list[pods.Trouble]
    inside: Object | None

    @property
    def well(self) -> bool:
        """Whether there are pods, and none of them is in trouble."""
        return bool(self.rows) and not self.troubles

    def to_json(self) -> Object:
        """Return it as plain data."""
        keys = ("name", "state", "restarts", "node")
        return {
            "namespace": self.namespace,
            "pods": [dict(zip(keys, row, strict=True)) for row in self.rows],
            "troubles": [{"what": each.what, "cure": each.cure} for each in self.troubles],
            "inside": self.inside,
        }


async def look(cluster: Cluster) -> Status:
    """Ask the cluster; nothing is changed."""
    found: dict[str, Object] = {}
    for selector in SELECTORS:
        found |= {pods.name_of(pod): pod for pod in await cluster.list("Pod", selector)}
    running = [pod for pod in found.values() if pod.get("status", {}).get("phase") != "Succeeded"]
    content = await cluster.get("ConfigMap", CONFIG_MAP)
    text = ((content or {}).get("data") or {}).get(KEY)
    return Status(
        cluster.namespace,
        sorted(pods.table_row(pod) for pod in running),
        [trouble for pod in running if (trouble := pods.trouble(pod))],
        json.loads(text) if text else None,
    )


def show(status: Status, console: Console) -> None:
    """Print it for people."""
    if not status.rows:
        console.print(f"nothing runs in namespace {status.namespace}; `eas deploy` starts it")
        return
    console.print(_table(f"pods in {status.namespace}", ("pod", "state", "restarts", "node"), status.rows))
    for trouble in status.troubles:
        console.print(Text(f"{trouble.what}\n  -> {trouble.cure}", "red"))
    console.print(_inside(status.inside))


def _inside(inside: Object | None) -> Group | Text:
    if inside is None:
        return Text("queues and workers: not known yet (the reconciler writes them)", "yellow")
    age = time.time() - float(inside["at"])
    lines: list[Any] = []
    if age > STALE:
        lines.append(Text(f"what follows is {age:.0f} s old: the reconciler does not run", "yellow"))
    queues = [
        (each["worker_type"], *map(str, (each["queued"], each["running"], each["workers"])))
        for each in inside["queues"]
    ]
    lines.append(_table("queues and workers", ("worker type", "queued", "running", "workers"), queues))
    jobs = [(str(each["id"]), each["name"], each["state"]) for each in inside["jobs"]]
    if jobs:
        lines.append(_table("unfinished jobs", ("id", "job", "state"), jobs))
    if inside["errors"]:
        errors = [(each["at"], each["job"], each["message"]) for each in inside["errors"]]
        lines.append(_table("last errors", ("UTC", "job", "message"), errors))
    else:
        lines.append(Text("no errors", "green"))
    return Group(*lines)


def _table(title: str, columns: tuple[str, ...], rows: list[Any]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table
