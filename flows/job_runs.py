"""Prefect flow runs that drive jobs: tagged with the job's id, so that they can be found."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelled, Cancelling

from flows.flow_runs import read_all

LOG = logging.getLogger("eas.flows")

OPEN = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]


def tag_of(job_id: int) -> str:
    """Return the tag of the flow runs that drive a job."""
    return f"job-{job_id}"


async def mark(job_id: int, name: str) -> None:
    """Tag this flow run with the job that it drives, and set its name accordingly."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    tags = {*context.flow_run.tags, tag_of(job_id)}
    try:
        async with get_client() as client:
            await client.update_flow_run(context.flow_run.id, name=f"{name} (job {job_id})", tags=tags)
    except (HTTPError, PrefectHTTPStatusError) as error:
        LOG.warning("the flow run is not marked as that of job %d: %s", job_id, error)


def cancel_runs(job_id: int, timeout: float) -> int:
    """End the flow runs that drive a job and do not end by themselves within ``timeout`` seconds.

    Returns how many had to be cancelled: at once what has not begun, later what runs.
    """
    deadline = time.monotonic() + timeout
    cancelled = 0
    while runs := _open_runs(job_id):
        late = time.monotonic() >= deadline
        cancelled += sum(_end(run) for run in runs if late or run.state_type is not StateType.RUNNING)
        if late:
            break
        time.sleep(0.5)
    return cancelled


def _open_runs(job_id: int) -> Sequence[FlowRun]:
    """Return the runs of ``run-chain`` that are tagged with a job, or were started to resume it."""
    with get_client(sync_client=True) as client:
        found = read_all(client, "run-chain", OPEN)
    return [run for run in found if tag_of(job_id) in run.tags or (run.parameters or {}).get("job_id") == job_id]


def _end(run: FlowRun) -> bool:
    """Ask the worker that started a run to kill it; a run that no worker started only loses its running state."""
    asked = run.state_type is StateType.RUNNING and run.deployment_id is not None
    state: State[Any] = Cancelling() if asked else Cancelled(message="the EAS job was cancelled")
    with get_client(sync_client=True) as client:
        return bool(client.set_flow_run_state(run.id, state, force=not asked).status == SetStateStatus.ACCEPT)
