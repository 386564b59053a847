"""Flow runs of Prefect's server: all matches, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType

from eas.errors import ServiceError

PAGE_SIZE: int | None = None
"""Number of runs in one page; None: the server's limit, by default 200."""


def read_all(client: SyncPrefectClient, flow_name: str, states: Sequence[StateType]) -> list[FlowRun]:
    """Return all runs of a flow that are in one of these states, page by page.

    Each page excludes the ids read before instead of using an offset: a run that ends meanwhile would
    shift the following ones, so that one is skipped. Raises the client's errors if the server is unavailable.
    """
    found: dict[UUID, FlowRun] = {}
    named: FlowFilter = FlowFilter(name=FlowFilterName(any_=[flow_name]))
    state: FlowRunFilterState = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
    while True:
        unread: FlowRunFilter = FlowRunFilter(state=state, id=FlowRunFilterId(not_any_=list(found)))
        page = client.read_flow_runs(flow_filter=named, flow_run_filter=unread, limit=PAGE_SIZE)
        if not page:
            return list(found.values())
        found.update((run.id, run) for run in page)


def server_time(client: SyncPrefectClient) -> datetime:
    """Return the time of the server, which wrote the times of its runs. Raises ServiceError."""
    date = client.request("GET", "/health").headers.get("Date")
    if date is None:
        raise ServiceError(
            "the Prefect server answers without its time", hint="let the proxy in front of it pass on the header Date"
        )
    return parsedate_to_datetime(date)
