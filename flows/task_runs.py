"""Prefect task runs for the tasks of a job: the nodes of the UI's graph.

A task run is *Pending* while its EAS task is on the job queue, *Running* once a worker has claimed it,
and ends when the task settles; its times and its run count are those of the task's latest attempt. Its
edges are the dependencies of the EAS task. The task database is the record; Prefect only displays it,
and a job runs the same without it.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import NamedTuple
from uuid import UUID

from prefect.client.schemas.objects import StateType

from eas import web_addresses
from eas.errors import EASError
from eas.model import CHAIN, DO_WHILE, FOR_LOOP, LogEntry
from eas.orchestration.dependency_graph import Node, blocked_by
from eas.orchestration.orchestrator import Event, EventKind
from eas.plain_text import one_line
from eas.states import AttemptState, TaskState
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import job_outcome, latest_attempts, service_warnings
from eas.taskdb.queries.latest_attempts import AttemptTimes
from flows.batch_members import WRITE_INTERVAL, MemberLists
from flows.shown_run import DisplayedTaskRun
from flows.task_run_events import TaskRunSender

MAX_SHARE, LEAST_SHARE = 0.5, 0.1
"""Share of ``max_task_runs`` for batches of equal size; incomplete batches and control tasks use the rest.

The larger the job, the smaller the share: a batch costs Prefect's server 50 to 100 ms of CPU, whatever its size.
With 500 batches and 316 loops, 10^5 empty tasks cost it 57 s of CPU; with 100 of each 19 s.
"""
MIN_LEAVES_FOR_LARGE_BATCHES = 5_000
"""Number of leaf tasks above which the share shrinks."""

POLL_INTERVAL = 1.0
"""Poll interval for claimed attempts [s]; each poll is one statement."""
WARNINGS_INTERVAL = 15.0
MAX_RUNNING = 2_000
MAX_LOGS = 100
"""Maximum number of failed tasks per step whose logs are sent."""

NodeOf = Callable[[int], Node]


class SettledTasks(NamedTuple):
    """Last attempts, and logs of failed tasks, of the tasks that settled in one step, from the task database."""

    attempts: Mapping[int, Sequence[AttemptTimes]]
    logs: Mapping[int, list[LogEntry]]


NOTHING = SettledTasks({}, {})


class Progress(NamedTuple):
    """What is new: warnings (None if they were not read), what workers hold now, and the last attempts of the
    tasks that ran at the last look and no longer do.
    """

    warnings: Sequence[str] | None
    running: Sequence[AttemptTimes]
    left_running: Mapping[int, Sequence[AttemptTimes]]


class TaskRuns:
    """Opens and ends the Prefect task runs of one flow run.

    Parameters
    ----------
    max_task_runs:
        Above this number of leaf tasks, a task run represents a batch of siblings.
    lease:
        A worker without a heartbeat for this time is not alive [s].
    web_url:
        Address of ``eas web``, for links to the pages of tasks; empty: no links.

    Attributes
    ----------
    opened:
        Number of task runs so far; the server finally has the same number of rows.
    warnings:
        Reasons why queued tasks do not start, for example that no worker is alive.
    """

    def __init__(self, database: TaskDatabase, max_task_runs: int, lease: float, web_url: str = "") -> None:
        self.database = database
        self.lease = lease
        self.web_url = web_url
        self.max_task_runs = max_task_runs
        self.opened = 0
        self.warnings: Sequence[str] = ()
        self._runs: dict[int, DisplayedTaskRun] = {}
        self._batches: dict[str, DisplayedTaskRun] = {}
        self._batch_size = 1
        self._most_controls = max_task_runs
        self._single_leaves = self._controls = 0
        self._open: dict[UUID, DisplayedTaskRun] = {}
        self._running: set[int] = set()
        self._keys = itertools.count(1)
        self._look_due = 0.0
        self._warnings_due = 0.0
        self._lists_due = 0.0
        self._sender = TaskRunSender()
        self._lists = MemberLists(web_url)

    def plan_for(self, leaves: int) -> None:
        """Set the batch size from the expected number of leaf tasks."""
        if leaves > self.max_task_runs:
            share = max(LEAST_SHARE, MAX_SHARE * min(1.0, MIN_LEAVES_FOR_LARGE_BATCHES / leaves))
            self._batch_size = max(2, ceil(leaves / max(1, self.max_task_runs * share)))
            self._most_controls = ceil(self.max_task_runs * share)

    def read(self, events: Sequence[Event]) -> SettledTasks:
        """Read data about the settled tasks. Blocks on SQL: do not call it in the event loop."""
        leaves = [each.node for each in events if each.what is EventKind.SETTLED and not each.node.is_control]
        if not leaves:
            return SettledTasks({}, {})
        ids = [node.task_id for node in leaves]
        bad = [node.task_id for node in leaves if node.state in (TaskState.FAILED, TaskState.STALLED)][:MAX_LOGS]
        return self.database.fetch(
            lambda c: SettledTasks(latest_attempts.latest(c, ids), job_outcome.last_logs(c, bad) if bad else {})
        )

    def take(self, events: Sequence[Event], node_of: NodeOf, ended: SettledTasks = NOTHING) -> None:
        """Update the task runs from the events of a step."""
        for event in events:
            if event.what is EventKind.EXPANDED:
                self._expanded(event, node_of)
            elif event.what is EventKind.QUEUED:
                self._join(event.node, node_of, event.at)
            elif event.what is EventKind.WITHDRAWN:
                self._withdrawn(event, node_of)
            elif event.node.is_control:
                self._control_settled(event, node_of)
            else:
                self._settled(event, node_of, ended)

    def look(self, job_id: int) -> Progress | None:
        """Read the claimed attempts, if that is due. Blocks on SQL: do not call it in the event loop.

        Returns None if the read fails: the orchestrator waits for the database, and the next poll reads the same.
        """
        now = time.monotonic()
        if now < self._look_due:
            return None
        self._look_due = now + POLL_INTERVAL
        try:
            return self._progress(job_id, now)
        except EASError:
            return None

    def _progress(self, job_id: int, now: float) -> Progress:
        with self.database.read() as connection:
            running = latest_attempts.running(connection, job_id, MAX_RUNNING)
            gone = self._running.difference(each.task_id for each in running)
            warnings = None
            if now >= self._warnings_due:
                self._warnings_due = now + WARNINGS_INTERVAL
                warnings = service_warnings.warnings(connection, self.database.now(), self.lease)
            return Progress(warnings, running, latest_attempts.latest(connection, gone) if gone else {})

    def follow(self, seen: Progress, node_of: NodeOf) -> None:
        """Update the task runs from attempts that workers have claimed, or that have failed and will be retried."""
        if seen.warnings is not None:
            self.warnings = seen.warnings
        for attempt in seen.running:
            node = node_of(attempt.task_id)
            if node.state.final or node.withdrawn:
                continue  # it settled between the two reads: the next step reports it
            self._join(node, node_of, attempt.queued_at)
            self._runs[attempt.task_id].claimed(attempt)
        for task_id, last in seen.left_running.items():
            run = self._runs[task_id]
            if task_id in run.open and last[-1].state is AttemptState.QUEUED:
                run.requeue(last)
        self._running = {each.task_id for each in seen.running if each.task_id in self._runs}
        if time.monotonic() >= self._lists_due:
            self._lists_due = time.monotonic() + WRITE_INTERVAL
            for run in self._open.values():
                run.publish_members(self._lists, node_of)

    async def close(self) -> None:
        """Wait until all task runs have ended and their ends have been sent to the server."""
        await self._sender.close()
        await self._lists.close()

    def abandon(self, reason: str, node_of: NodeOf) -> None:
        """End the task runs of all unfinished tasks as cancelled, because nothing updates them after this."""
        now = self.database.now()
        for run in list(self._open.values()):
            for task_id in list(run.open):
                run.settle(task_id, TaskState.CANCELLED, now, reason)
            self._end(run, node_of)

    # -- what happened -------------------------------------------------------------------------

    def _expanded(self, event: Event, node_of: NodeOf) -> None:
        """Show a control task as running; the chains that a large loop is made of are too many."""
        node = event.node
        if node.parent_id is None:
            return  # the flow run itself represents the whole chain
        run = self._runs.get(node.task_id)
        if run is None:
            if self._batch_size > 1 and (node.task_type == CHAIN or self._controls >= self._most_controls):
                return
            self._controls += 1
            run = self._open_run(_control_name(node), node, node_of, event.at, queued=False)
            run.join(node.task_id)
            self._runs[node.task_id] = run
        run.rename(_control_name(node))
        run.begin(event.at, 1)

    def _control_settled(self, event: Event, node_of: NodeOf) -> None:
        """End a control task's run with its own state; one that could not be expanded gets a run for its reason."""
        node = event.node
        if node.task_id not in self._runs:
            if node.reason is None:
                return
            self._join(node, node_of, event.at)
        run = self._runs[node.task_id]
        reason = node.reason or f"{node.bad_children} of {len(node.children)} children did not succeed"
        run.settle(node.task_id, node.state, event.at, reason)
        self._end_if_over(run, node_of)

    def _join(self, node: Node, node_of: NodeOf, at: float) -> None:
        """Open a task run for a task, or let it join an open batch of its type."""
        if (known := self._runs.get(node.task_id)) and node.task_id in known.open:
            return  # it was withdrawn from the queue in between: the same run continues
        if self._batch_size == 1 and self._single_leaves < self.max_task_runs:
            self._single_leaves += 1
            run = self._open_run(_name(node), node, node_of, at)
        else:
            run = self._batch(node, node_of, at)
        run.join(node.task_id)
        self._runs[node.task_id] = run

    def _batch(self, node: Node, node_of: NodeOf, at: float) -> DisplayedTaskRun:
        kind = node.task_type or "task"
        run = self._batches.get(kind)
        if run is None or run.full:
            size = max(self._batch_size, 2)
            run = self._open_run(f"{kind} [batch of up to {size}]", node, node_of, at, size)
            self._batches[kind] = run
        return run

    def _settled(self, event: Event, node_of: NodeOf, ended: SettledTasks) -> None:
        # The task may never have been queued: blocked, rejected, or reused from an earlier job.
        node = event.node
        self._join(node, node_of, event.at)
        run = self._runs[node.task_id]
        reason, over = node.reason or "", event.at
        # A task with its own reason settled without an attempt; its last attempt, if any, is older.
        for attempt in () if reason else ended.attempts.get(node.task_id, ())[-1:]:
            run.claimed(attempt)
            over = attempt.ended_at or over
            reason = attempt.reason
        if node.state is not TaskState.DONE:
            reason = reason or blocked_by(node)
        run.settle(node.task_id, node.state, over, reason)
        if node.state in (TaskState.FAILED, TaskState.STALLED):
            page = web_addresses.link(self.web_url, web_addresses.task(node.task_id))
            more = f"more of this task: eas show {node.task_id}" + (f", or {page}" if page else "")
            log = [*ended.logs.get(node.task_id, ()), LogEntry(over, logging.INFO, "eas", more)]
            run.log(node.task_id, log)
        self._end_if_over(run, node_of)

    def _withdrawn(self, event: Event, node_of: NodeOf) -> None:
        """End the task run of a task that was withdrawn from the queue: put back, the task gets a new one."""
        node = event.node
        run = self._runs.get(node.task_id)
        if run is None or node.task_id not in run.open:
            return
        run.settle(node.task_id, TaskState.CANCELLED, event.at, node.reason or "withdrawn from the queue")
        self._end_if_over(run, node_of)

    def _end_if_over(self, run: DisplayedTaskRun, node_of: NodeOf) -> None:
        """End a task run whose tasks have settled, unless it is a batch that accepts more."""
        if not run.open and (run.full or self._batches.get(run.kind) is not run):
            self._end(run, node_of)

    def _end(self, run: DisplayedTaskRun, node_of: NodeOf) -> None:
        if self._open.pop(run.id, None) is not None:
            run.publish_members(self._lists, node_of)
            run.end()

    def _edges(self, node: Node, node_of: NodeOf) -> Iterable[UUID]:
        """Return the task runs that a task depends on, or else that of its nearest ancestor."""
        makers = {run.id for maker in node.makers if (run := self._runs.get(maker))}
        parent = node.parent_id
        while not makers and parent is not None:
            if run := self._runs.get(parent):
                return [run.id]
            parent = node_of(parent).parent_id
        return makers

    def _open_run(
        self, name: str, node: Node, node_of: NodeOf, at: float, size: int = 1, *, queued: bool = True
    ) -> DisplayedTaskRun:
        key = str(next(self._keys))
        run = DisplayedTaskRun(self._sender, node.task_type or "task", name, key, self._edges(node, node_of), at, size)
        self.opened += 1
        self._open[run.id] = run
        if queued:
            run.change(StateType.PENDING, "Pending", at)
        return run


def _name(node: Node) -> str:
    """Return a task run's name: type, name in the chain, loop values and id of its task."""
    return f"{one_line(node.label)} (task {node.task_id})"


def _control_name(node: Node) -> str:
    label = one_line(node.label)
    if node.task_type == FOR_LOOP:
        label += f", {len(node.children)} values"
    elif node.task_type == DO_WHILE:
        label += f", iteration {len(node.children)}"
    return f"{label} (task {node.task_id})"
