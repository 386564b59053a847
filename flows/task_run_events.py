"""Prefect task runs as events that carry the times of the tasks, even if these become known later.

Prefect's server makes the rows of task runs from events that its client sends, one for each change of
state. Prefect's own engine sends them when a Python function begins and ends; here a worker elsewhere
runs the task, so the events are sent for it, and carry its own times and the number of its attempt.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from weakref import WeakSet

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateDetails, StateType, TaskRun, TaskRunResult
from prefect.context import FlowRunContext
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging.handlers import APILogWorker
from prefect.logging.loggers import task_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.utilities.engine import emit_task_run_state_change_event

from eas.model import LogEntry
from eas.plain_text import visible

LOG = logging.getLogger("eas.flows")

WINDOW = 2_500
"""Maximum number of starts and ends of one process's task runs that the server has not recorded yet.

Its queue holds 10,000 events, of which it gets one to three for a task run; what comes then it drops.
An event costs it 12 ms of CPU, on sqlite and on PostgreSQL (`python -m benchmarks.prefect_events`): a
full window is 15 s of work where tasks are so fast that each is one event. With a window of 500 its API
answered within 0.9 s at worst instead of 1.4 s, and the end of a flow run of 1,000 tasks was 36 s later.
"""
TIMEOUT = 120.0
"""Maximum time to wait for a server that makes no progress [s]."""
LAST_PATIENCE = 30.0
"""The same, where a process would only end [s]."""
ENDED = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]

TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Change:
    """A new state of a task run, and columns of its row that change with it. ``at``: Unix time [s]."""

    type: StateType
    name: str
    at: float
    message: str = ""
    columns: dict[str, Any] = field(default_factory=dict)


class RecordedTaskRun:
    """A task run of the current flow run; sends its changes to Prefect's server.

    Parameters
    ----------
    kind:
        What Prefect calls the task: the EAS task type.
    key:
        Distinguishes it from other runs of its kind in the flow run.
    depends_on:
        Task runs to which the UI's graph draws an edge.
    """

    def __init__(self, kind: str, name: str, key: str, depends_on: Iterable[UUID], at: float) -> None:
        flow_run = _flow_run()
        self.task_run = TaskRun(
            name=name,
            flow_run_id=flow_run.id if flow_run else None,
            flow_run_run_count=flow_run.run_count if flow_run else 0,
            task_key=kind,
            dynamic_key=key,
            expected_start_time=_moment(at),
            task_inputs={"wait_for": [TaskRunResult(id=each) for each in depends_on]},
        )
        self.kind = kind
        self._last_event: Any = None

    @property
    def id(self) -> UUID:
        """Prefect's id of the task run."""
        return self.task_run.id

    def send(self, change: Change) -> None:
        """Send a change as an event. The server drops events that are not later than the recorded state."""
        run, before = self.task_run, self.task_run.state
        self.skip(change)
        at = _moment(change.at)
        if before is not None:
            at = max(at, before.timestamp + TICK)
        details: StateDetails = StateDetails(task_run_id=run.id, flow_run_id=run.flow_run_id)
        state: State[Any] = State(
            type=change.type, name=change.name, message=change.message, timestamp=at, state_details=details
        )
        run.state, run.state_id, run.state_type, run.state_name = state, state.id, state.type, state.name
        self._last_event = emit_task_run_state_change_event(run, before, state, follows=self._last_event)

    def skip(self, change: Change) -> None:
        """Merge the columns of a change that is not sent into the next one."""
        for column, value in change.columns.items():
            setattr(self.task_run, column, value)

    def log(self, entries: Sequence[LogEntry], prefix: str = "") -> None:
        """Write log entries of a worker into the task run's log, with their own times."""
        adapter = task_run_logger(self.task_run)
        extra = dict(adapter.extra or {}) | {"task_name": self.kind}
        for entry in entries:
            text = f"{entry.message}\n{entry.traceback}" if entry.traceback else entry.message
            if adapter.isEnabledFor(entry.level):
                record = adapter.logger.makeRecord(
                    adapter.logger.name, entry.level, "", 0, "%s", (visible(prefix + text),), None, extra=extra
                )
                record.created = entry.logged_at
                adapter.logger.handle(record)


class TaskRunSender:
    """Sends the changes of one flow run's task runs, in order, no faster than the server records them.

    A change that a later one has superseded is not sent, because each costs the server some 10 ms. So
    a task that starts and ends between two polls, or while the server is behind, is one event instead of three.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[RecordedTaskRun, Change]] = deque()
        self._newest: dict[UUID, Change] = {}
        self._sending: asyncio.Task[None] | None = None
        self._sent = 0
        self._recorded = 0
        SENDERS.add(self)

    def put(self, run: RecordedTaskRun, change: Change) -> None:
        """Queue a change for sending. Call it in the flow's event loop."""
        self._waiting.append((run, change))
        self._newest[run.id] = change
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_waiting())

    async def close(self) -> None:
        """Wait until all changes are sent."""
        if self._sending is not None:
            await self._sending
        SENDERS.discard(self)

    async def _send_waiting(self) -> None:
        while self._waiting:
            run, change = self._waiting[0]
            more = (run.task_run.state is None) + (change.type.value in ENDED)
            try:
                if self._newest[run.id] is change:
                    await self._room(more)  # another change of this task run may be queued meanwhile
                if self._newest[run.id] is change:
                    self._sent += more
                    run.send(change)
                else:
                    run.skip(change)
            except Exception as error:  # of Prefect's client: many kinds; the task itself is not affected
                LOG.warning("Prefect does not show that %s is %s: %s", run.task_run.name, change.name, error)
            self._waiting.popleft()
            if self._newest[run.id] is change:
                del self._newest[run.id]
            await asyncio.sleep(0)

    async def _room(self, more: int) -> None:
        """Wait until the server can accept ``more`` starts and ends without dropping events."""
        window = max(2, WINDOW // max(1, len(SENDERS)))
        heard = time.monotonic()
        while more and self._sent + more - self._recorded > window:
            before, self._recorded = self._recorded, max(self._recorded, await _recorded_changes(self._recorded))
            if self._recorded > before:
                heard = time.monotonic()
            elif time.monotonic() - heard > TIMEOUT:
                LOG.warning("the Prefect server has stopped recording task runs: some may be missing there")
                self._recorded = self._sent
            if self._sent + more - self._recorded > window:
                await asyncio.sleep(1.0)


SENDERS: WeakSet[TaskRunSender] = WeakSet()
"""The task runs of this process, which share one server."""


def _flow_run() -> Any:
    context = FlowRunContext.get()
    return context.flow_run if context else None


def flow_run_id() -> UUID | None:
    """Return the id of the current flow run."""
    flow_run = _flow_run()
    return flow_run.id if flow_run else None


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def times(started: float | None, ended: float) -> dict[str, Any]:
    """Return the columns of a finished task run: start, end [Unix s], duration [s]."""
    if started is None:
        return {"end_time": _moment(ended)}
    start = _moment(started)
    end = max(start, _moment(ended))
    return {"start_time": start, "end_time": end, "total_run_time": end - start}


def start(at: float, number: int) -> dict[str, Any]:
    """Return the columns of a task run that has begun its attempt ``number`` [Unix s]."""
    return {"start_time": _moment(at), "run_count": number}


async def _recorded_changes(known: int) -> int:
    """Return how many starts and ends of this flow run's task runs are recorded; ``known`` if the server is down."""
    run = flow_run_id()
    if run is None:
        return known
    ended = _ended(run)
    begun = {"flow_runs": ended["flow_runs"]}
    try:
        async with get_client() as client:
            answers = [await client.request("POST", "/task_runs/count", json=each) for each in (begun, ended)]
    except (HTTPError, PrefectHTTPStatusError):
        return known
    return sum(int(answer.json()) for answer in answers)


def wait_until_recorded(opened: Mapping[UUID, int]) -> None:
    """Wait until the server has received all events of this process and recorded the ends of all task runs.

    ``opened``: number of task runs of each flow run. Gives up if the server is unreachable.
    """
    APILogWorker.drain_all(timeout=20)  # this process ends soon
    EventsWorker.drain_all(timeout=60)
    heard, seen = time.monotonic(), -1
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
        while time.monotonic() - heard < LAST_PATIENCE:
            try:
                answers = {run: client.request("POST", "/task_runs/count", json=_ended(run)) for run in opened}
            except (HTTPError, PrefectHTTPStatusError):
                return
            counts = {run: int(answer.json()) for run, answer in answers.items()}
            if all(counts[run] >= opened[run] for run in opened):
                return
            if sum(counts.values()) > seen:
                heard, seen = time.monotonic(), sum(counts.values())
            time.sleep(0.1)


def _ended(run: UUID) -> dict[str, Any]:
    """Return a request for those task runs of a flow run that have ended."""
    return {"flow_runs": {"id": {"any_": [str(run)]}}, "task_runs": {"state": {"type": {"any_": ENDED}}}}
