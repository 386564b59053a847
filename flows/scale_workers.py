"""The flow ``scale-workers``: as many ``work`` runs for each worker type as pay off."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from eas.app import App
from eas.control.scaling import Decision, decide, survey
from flows.artifacts import publish_table
from flows.flow_runs import read_all
from flows.parameters import Blocks, described, open_app, told

REGISTRATION = 15.0
"""So long after its start a ``work`` run may not be known in SQL as a worker yet [s]."""
STARTING = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


@flow(name="scale-workers", persist_result=False)
@told
def scale_workers(
    minimum: Annotated[int, described("At least so many workers of each type.", ge=0)] = 0,
    maximum: Annotated[int, described("At most so many workers of each type.", ge=0)] = 4,
    worker_types: Annotated[
        list[str] | None, described("Worker types to start; default: those with a `work` deployment.")
    ] = None,
    idle_exit: Annotated[float, described("Workers leave when they had nothing to do for so long [s].", ge=0)] = 60.0,
    dry_run: Annotated[bool, described("Only show what would be started, and why.")] = False,
    every: Annotated[
        float | None, described("Look again every so many seconds, for ever; default: look once.", ge=1)
    ] = None,
    time_limit: Annotated[float | None, described("With `every`: leave after so long [s].", ge=0)] = None,
    blocks: Blocks = None,
) -> Any:
    """Look at queues and workers of each type, and start `work` runs where they pay off.

    Why so many is in the table artifact `scale-workers`. Workers leave by themselves, down to none.
    Returns how many were started, by worker type.
    """
    began = time.monotonic()
    started: Counter[str] = Counter()
    shown: list[tuple[str, int]] | None = None
    with open_app(blocks) as app, get_client(sync_client=True) as client:
        while True:
            decisions = _decide(app, client, worker_types, minimum, maximum)
            news = [(each.worker_type, each.start) for each in decisions]
            if news != shown or any(each.start for each in decisions):
                publish_table(_table(decisions, dry_run=dry_run), "scale-workers", _heading(decisions, dry_run=dry_run))
                shown = news
            if not dry_run:
                started.update(_start(client, decisions, {"idle_exit": idle_exit, "blocks": blocks}))
            if every is None or (time_limit is not None and time.monotonic() - began + every > time_limit):
                return dict(started)
            time.sleep(every)


def _decide(
    app: App, client: SyncPrefectClient, wanted: Sequence[str] | None, minimum: int, maximum: int
) -> list[Decision]:
    """Return what to start of the worker types that have a deployment."""
    app.registry.task_types_of(wanted or [])
    there = {each.name for each in _deployments(client)}
    chosen = there & set(wanted) if wanted else there
    loads = survey(app.database, app.registry, _starting(client), lease=app.settings.lease)
    return decide([load for load in loads if load.worker_type in chosen], minimum, maximum)


def _deployments(client: SyncPrefectClient) -> list[Any]:
    return client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=["work"])))


def _starting(client: SyncPrefectClient) -> dict[str, int]:
    """Return how many workers of each type were asked for and are not known in SQL yet."""
    found = read_all(client, "work", STARTING)
    return Counter(run.parameters["worker_type"] for run in found if _is_young(run))


def _is_young(run: FlowRun) -> bool:
    if run.state_type is not StateType.RUNNING or run.start_time is None:
        return "worker_type" in run.parameters
    return (datetime.now(UTC) - run.start_time).total_seconds() < REGISTRATION


def _start(client: SyncPrefectClient, decisions: Sequence[Decision], parameters: dict[str, Any]) -> Counter[str]:
    """Ask Prefect for `work` runs; who asked too often is no worse off: workers leave when they are idle."""
    started: Counter[str] = Counter()
    log = get_run_logger()
    for each in decisions:
        if not each.start:
            continue
        try:
            deployment = client.read_deployment_by_name(f"work/{each.worker_type}")
        except ObjectNotFound:
            log.warning("there is no deployment work/%s any more", each.worker_type)
            continue
        for _ in range(each.start):
            client.create_flow_run_from_deployment(deployment.id, parameters=deployment.parameters | parameters)
            started[each.worker_type] += 1
        log.info("%s: %s", each.worker_type, each.reason)
    return started


def _table(decisions: Sequence[Decision], *, dry_run: bool) -> pd.DataFrame:
    start = "would start" if dry_run else "start"
    rows = [
        {
            "worker_type": each.worker_type,
            start: each.start,
            "queued": each.load.queued,
            "oldest [s]": each.load.oldest,
            "running": each.load.running,
            "workers": each.load.workers,
            "idle": each.load.idle,
            "starting": each.load.starting,
            "work that waits [s]": each.load.seconds,
            "reason": each.reason,
        }
        for each in decisions
    ]
    return pd.DataFrame(rows, columns=["worker_type", start]) if not rows else pd.DataFrame(rows)


def _heading(decisions: Sequence[Decision], *, dry_run: bool) -> str:
    total = sum(each.start for each in decisions)
    return f"{total} workers {'would be' if dry_run else 'are'} started."
