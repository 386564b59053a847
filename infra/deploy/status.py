"""``eas status``: pods, queues, workers and the last errors, on one screen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from eas.plain_text import visible
from eas.taskdb.service_lease import SERVICE_LEASE_DURATION as LEASE
from infra.deploy import addresses, pods, volumes
from infra.deploy.client import Cluster, ClusterError

Object = dict[str, Any]
CONFIG_MAP = "eas-status"
KEY = "status.json"
FRESH, STALE = 10.0, 30.0
"""Maximum age of the reconciler's data [s]. Older data are read again in a pod if possible, or else marked as
old."""
ASK = ("python", "-m", "infra.deploy.summary")
ASKED = ("supervisor", "supervisor")
"""Name of the Deployment and of the container in which the task database is queried."""
ANSWER_SECONDS = 20.0
LOW_SPACE_SHARE = 0.1
"""Fraction of free space below which a volume is shown in red."""
STARTUP_GRACE = 60.0
"""Age of a pod [s] up to which waiting for a volume or a node is not reported as a problem."""
JOB_LABEL = "job-name"
SELECTORS = ("app.kubernetes.io/part-of=eas", "eas-role=job")


@dataclass(frozen=True)
class Status:
    """Status of a namespace; ``inside`` is the state of the task database, None if it is unknown.

    ``asked``: whether it was read just now; otherwise the reconciler wrote it. ``waiting``: workers and other Jobs that
    wait for room, which is normal. ``addresses``: how to reach the web interfaces. ``volumes``: ``free`` and ``total``
    of each [bytes]. ``age`` is that of ``inside`` [s].
    """

    namespace: str
    rows: list[tuple[str, str, str, str, str]]
    troubles: list[pods.PodProblem]
    inside: Object | None
    waiting: int = 0
    addresses: tuple[str, ...] = ()
    asked: bool = False
    volumes: dict[str, Object] = field(default_factory=dict)
    age: float | None = None

    @property
    def well(self) -> bool:
        """Whether there are pods, and none of them is in trouble."""
        return bool(self.rows) and not self.troubles

    def to_json(self) -> Object:
        """Return it as plain data."""
        keys = ("name", "state", "restarts", "image", "node")
        return {
            "namespace": self.namespace,
            "pods": [dict(zip(keys, row, strict=True)) for row in self.rows],
            "waiting_for_room": self.waiting,
            "troubles": [{"what": each.what, "hint": each.hint} for each in self.troubles],
            "addresses": list(self.addresses),
            "volumes": self.volumes,
            "inside_asked": self.asked,
            "inside_age": None if self.age is None else round(self.age, 1),
            "inside": self.inside,
        }


async def look(cluster: Cluster) -> Status:
    """Read the status from the cluster."""
    found: dict[str, Object] = {}
    for selector in SELECTORS:
        found |= {pods.name_of(pod): pod for pod in await cluster.list("Pod", selector)}
    present = [pod for pod in found.values() if not _is_past(pod, found.values())]
    waiting = [pod for pod in present if _waits_for_room(pod)]
    written = await _written(cluster)
    asked = None if written and _age(cluster, written) <= FRESH else await _ask(cluster, present)
    inside = asked or written
    known = dict((inside or {}).get("volumes") or {})
    return Status(
        cluster.namespace,
        sorted(pods.table_row(pod) for pod in present),
        [
            trouble
            for pod in present
            if pod not in waiting and (trouble := pods.trouble(pod)) and not _settles(cluster, pod)
        ],
        inside,
        len(waiting),
        addresses.lines(
            cluster.namespace, {pods.name_of(each) for each in await cluster.list("Service", SELECTORS[0])}
        ),
        asked is not None,
        known | await volumes.free_space(cluster, present, but=known),
        None if inside is None else _age(cluster, inside),
    )


async def _written(cluster: Cluster) -> Object | None:
    """Return what the reconciler wrote last, and when by the API server's clock."""
    content = await cluster.get("ConfigMap", CONFIG_MAP)
    text = ((content or {}).get("data") or {}).get(KEY)
    return dict(json.loads(text)) if text else None


async def _ask(cluster: Cluster, present: Iterable[Object]) -> Object | None:
    """Query the task database in the supervisor's pod; return None if that is not possible."""
    name, container = ASKED
    for pod in present:
        if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") == name and pods.is_ready(pod):
            try:
                said = await cluster.execute(pods.name_of(pod), container, ASK, ANSWER_SECONDS)
                return dict(json.loads(said.strip().rpartition("\n")[2])) | {"at": cluster.now().timestamp()}
            except (ClusterError, ValueError):
                return None
    return None


def _is_past(pod: Object, everything: Iterable[Object]) -> bool:
    """Return whether a pod succeeded, or failed and was replaced by another pod of its Job."""
    phase, job = pod.get("status", {}).get("phase"), pod["metadata"].get("labels", {}).get(JOB_LABEL)
    if phase != "Failed":
        return bool(phase == "Succeeded")
    return job is not None and any(
        each["metadata"].get("labels", {}).get(JOB_LABEL) == job
        and each.get("status", {}).get("phase") in ("Running", "Succeeded")
        for each in everything
    )


def _waits_for_room(pod: Object) -> bool:
    """Whether a worker, report or chain waits until a node has room; services must not have to."""
    return pod["metadata"].get("labels", {}).get("eas-role") == "job" and pods.lacks_resources(pod)


def _age(cluster: Cluster, inside: Object) -> float:
    return max(cluster.now().timestamp() - float(inside["at"]), 0.0)


def _settles(cluster: Cluster, pod: Object) -> bool:
    """Return whether an unschedulable pod is too new for that to be a problem."""
    created = pod["metadata"].get("creationTimestamp")
    if not created or not pods.is_unscheduled(pod):
        return False
    return (cluster.now() - datetime.fromisoformat(str(created))).total_seconds() < STARTUP_GRACE


def show(status: Status, console: Console) -> None:
    """Print it as tables."""
    if not status.rows:
        console.print(f"nothing runs in namespace {status.namespace}; `eas deploy` starts it")
        return
    console.print(_table(f"pods in {status.namespace}", ("pod", "state", "restarts", "image", "node"), status.rows))
    for trouble in status.troubles:
        console.print(Text(visible(f"{trouble.what}\n  -> {trouble.hint}"), "red"))
    if status.waiting:
        console.print(Text(f"{status.waiting} workers, reports or chains are pending: no node has free resources"))
    console.print(_inside(status.inside, status.age, asked=status.asked))
    for name, each in sorted(status.volumes.items()):
        text = f"volume {name}: {each['free'] / 1e9:.1f} of {each['total'] / 1e9:.1f} GB free"
        console.print(Text(text, "bold red" if each["free"] < LOW_SPACE_SHARE * each["total"] else ""))
    for address in status.addresses:
        console.print(Text(address), soft_wrap=True)


def _inside(inside: Object | None, age: float | None, *, asked: bool) -> Group | Text:
    if inside is None or age is None:
        return Text("queues and workers: unknown until the reconciler has written them", "yellow")
    lines: list[Any] = []
    lines.append(_origin(age, asked=asked))
    lines += [_service(name, each) for name, each in (inside.get("services") or {}).items()]
    if inside.get("warning"):
        lines.append(Text(f"WARNING: {inside['warning']}", "bold red"))
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


def _origin(age: float, *, asked: bool) -> Text:
    """Return a sentence about source and age [s] of the figures."""
    if asked:
        return Text("the following was just read from the task database")
    if age <= STALE:
        return Text(f"the following is {age:.0f} s old")
    return Text(f"the following is {age:.0f} s old: the reconciler does not write it any more", "yellow")


def _service(name: str, renewed: float | None) -> Text:
    """Say whether the holder of a lease in the task database is alive; ``renewed`` is how long ago it was [s]."""
    if renewed is None or renewed > LEASE:
        since = "" if renewed is None else f" for {renewed:.0f} s"
        return Text(f"{name}: none is alive{since}", "yellow")
    return Text(f"{name}: alive {renewed:.0f} s before that")


def _table(title: str, columns: tuple[str, ...], rows: list[Any]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table
