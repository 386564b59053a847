"""The flow ``scale-workers``: starts ``work`` runs for each worker type as the queues justify them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled

from eas.app import App
from eas.errors import EASError, RequestError
from eas.orchestration.scaling import STUCK_AFTER, CapacityMemory, ScalingDecision, Starting, read_loads
from eas.taskdb.service_lease import SCALER, SERVICE_LEASE_DURATION, ServiceLease
from flows.artifacts import publish_table
from flows.flow_runs import read_all, server_time
from flows.outages import Outages
from flows.parameters import Blocks, described, fail_on_eas_error, open_app

REGISTRATION = 15.0
"""Maximum time from the start of a ``work`` run until its worker is registered in the task database [s]."""
OLDEST_TABLE = 60.0
"""Maximum age of the published table while it changes [s]."""
STARTING = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


@flow(name="scale-workers", flow_run_name="scaler", persist_result=False)
@fail_on_eas_error
def scale_workers(
    minimum: Annotated[int, described("Minimum number of workers of each type.", ge=0)] = 0,
    maximum: Annotated[int, described("Maximum number of workers of each type.", ge=0)] = 4,
    worker_types: Annotated[
        list[str] | None, described("Worker types to start; default: those with a `work` deployment.")
    ] = None,
    idle_exit: Annotated[float, described("Workers exit after this time without a task [s].", ge=0)] = 60.0,
    worker_time_limit: Annotated[
        float | None,
        described("Workers exit after this time [s], which frees their resources for other worker types.", ge=0),
    ] = None,
    dry_run: Annotated[bool, described("Only show which workers would be started, and why.")] = False,
    every: Annotated[float | None, described("Repeat at this interval [s]; default: run once.", ge=1)] = None,
    time_limit: Annotated[float | None, described("With `every`: exit after this time [s].", ge=0)] = None,
    blocks: Blocks = None,
) -> Any:
    """Compare queues and workers of each type, and start `work` runs where they are justified.

    The table artifact `scale-workers` gives the reason for each number. Workers exit by themselves,
    down to none. With `every` the flow keeps running even if Prefect's API fails; while another
    run of it is active, it waits. Returns the number of started workers, by worker type.
    """
    with open_app(blocks) as app:
        app.registry.task_types_of(worker_types or [])
        parameters = {"idle_exit": idle_exit, "blocks": blocks}
        if worker_time_limit is not None:
            parameters["time_limit"] = worker_time_limit
        scaler = _Scaler(app, worker_types, (minimum, maximum), parameters, dry_run=dry_run, every=every or 0.0)
        if every is None:
            scaler.scale()
        else:
            _keep_scaling(scaler, every, time_limit)
        return dict(scaler.started)


def _keep_scaling(scaler: _Scaler, every: float, time_limit: float | None) -> None:
    """Scale periodically, as long as this process holds the scaler's lease."""
    began = time.monotonic()
    log = get_run_logger()
    # Retry often, with one request each time, so that the first decision after an outage uses current queues.
    outages, standby = Outages(log.warning, longest=every), Outages(log.info)
    lease = ServiceLease(scaler.app.database, SCALER, max(SERVICE_LEASE_DURATION, 2 * every))
    try:
        while True:
            wait = every
            try:
                if lease.hold():
                    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                        scaler.scale()
                    standby.over()
                else:
                    standby.pause(RuntimeError("another scaler is active; waiting"))
                outages.over()
            except RequestError:
                raise  # invalid parameters: retrying does not help
            except Exception as error:  # Prefect's client raises many kinds
                wait = max(every, outages.pause(error))
            if time_limit is not None and time.monotonic() - began + wait > time_limit:
                return
            time.sleep(wait)
    finally:
        with contextlib.suppress(EASError):  # it expires by itself
            lease.release()


class _Scaler:
    """One request for scaling: which worker types, between which numbers of workers."""

    def __init__(
        self,
        app: App,
        worker_types: Sequence[str] | None,
        limits: tuple[int, int],
        parameters: dict[str, Any],
        *,
        dry_run: bool,
        every: float,
    ) -> None:
        self.app = app
        self.worker_types = worker_types
        self.limits = limits
        self.parameters = parameters
        self.room = CapacityMemory()
        self.dry_run = dry_run
        self.started: Counter[str] = Counter()
        # A change between two polls is noticed at the second one.
        self.publish_interval = max(0.0, OLDEST_TABLE - 2 * every)
        self._published: tuple[float, list[ScalingDecision] | None] = (-OLDEST_TABLE, None)

    def scale(self) -> None:
        """Decide, publish the decisions, cancel workers that cannot be scheduled, and start others."""
        with get_client(sync_client=True) as client:
            now = server_time(client)
            starting = [run for run in read_all(client, "work", STARTING) if _is_starting(run, now)]
            stuck = [run for run in starting if _is_stuck(run, now)]
            decisions = self._decide(client, starting, stuck)
            self._publish(decisions)
            if not self.dry_run:
                _cancel_stuck(client, decisions, stuck)
                self.started.update(_start(client, decisions, self.parameters))

    def _decide(
        self, client: SyncPrefectClient, starting: Sequence[FlowRun], stuck: Sequence[FlowRun]
    ) -> list[ScalingDecision]:
        """Return the numbers of workers to start, of the worker types that have a deployment."""
        deployed = {each.name for each in _deployments(client)}
        chosen = deployed & set(self.worker_types) if self.worker_types else deployed
        app = self.app
        loads = read_loads(app.database, app.registry, _count(starting, stuck), lease=app.settings.lease)
        return self.room.decide([load for load in loads if load.worker_type in chosen], *self.limits, time.monotonic())

    def _publish(self, decisions: Sequence[ScalingDecision]) -> None:
        """Publish the table when workers are started, and at least once a minute while anything in it changes."""
        published_at, before = self._published
        starting = any(each.start for each in decisions)
        if starting or (list(decisions) != before and time.monotonic() - published_at >= self.publish_interval):
            heading = _heading(decisions, dry_run=self.dry_run)
            publish_table(_table(decisions, dry_run=self.dry_run), "scale-workers", heading)
            self._published = time.monotonic(), list(decisions)


def _deployments(client: SyncPrefectClient) -> list[Any]:
    return client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=["work"])))


def _count(starting: Sequence[FlowRun], stuck: Sequence[FlowRun]) -> dict[str, Starting]:
    """Return how many workers of each type were started and are not registered yet."""
    counts, waiting = (Counter(run.parameters["worker_type"] for run in runs) for runs in (starting, stuck))
    return {worker_type: Starting(count, waiting[worker_type]) for worker_type, count in counts.items()}


def _is_stuck(run: FlowRun, now: datetime) -> bool:
    """Return whether a run has been pending for so long that the cluster lacks resources for it."""
    if run.state_type is StateType.RUNNING or run.created is None:
        return False
    return (now - run.created).total_seconds() > STUCK_AFTER


def _cancel_stuck(client: SyncPrefectClient, decisions: Sequence[ScalingDecision], stuck: Sequence[FlowRun]) -> None:
    """Cancel pending workers whose resources other types need more, the newest first."""
    log = get_run_logger()
    for each in decisions:
        mine = [run for run in stuck if run.parameters["worker_type"] == each.worker_type]
        mine.sort(key=lambda run: str(run.created), reverse=True)
        for run in mine[: each.cancel_stuck]:
            client.set_flow_run_state(run.id, Cancelled(message="the cluster lacks resources for it"), force=True)
        if each.cancel_stuck:
            log.info("%s: %d workers that found no room were taken back", each.worker_type, each.cancel_stuck)


def _is_starting(run: FlowRun, now: datetime) -> bool:
    if run.state_type is not StateType.RUNNING or run.start_time is None:
        return "worker_type" in run.parameters
    return (now - run.start_time).total_seconds() < REGISTRATION


def _start(client: SyncPrefectClient, decisions: Sequence[ScalingDecision], parameters: dict[str, Any]) -> Counter[str]:
    """Create `work` runs. Surplus runs are harmless, because idle workers exit."""
    started: Counter[str] = Counter()
    log = get_run_logger()
    for each in decisions:
        if not each.start:
            continue
        try:
            deployment = client.read_deployment_by_name(f"work/{each.worker_type}")
        except ObjectNotFound:
            log.warning("the deployment work/%s no longer exists", each.worker_type)
            continue
        for _ in range(each.start):
            client.create_flow_run_from_deployment(deployment.id, parameters=deployment.parameters | parameters)
            started[each.worker_type] += 1
        log.info("%s: %s", each.worker_type, each.reason)
    return started


def _table(decisions: Sequence[ScalingDecision], *, dry_run: bool) -> pd.DataFrame:
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
            "without room": each.load.stuck,
            "work that waits [s]": each.load.seconds,
            "reason": each.reason,
        }
        for each in decisions
    ]
    return pd.DataFrame(rows, columns=["worker_type", start]) if not rows else pd.DataFrame(rows)


def _heading(decisions: Sequence[ScalingDecision], *, dry_run: bool) -> str:
    total = sum(each.start for each in decisions)
    return f"{total} workers {'would be' if dry_run else 'are'} started."
