"""Prefect task runs for the tasks of a job: what people see in the UI's graph.

A task run is opened when its EAS task is put on the job queue and ends when that settles; while it
waits it costs a coroutine, nothing else. Its edges are the dependencies of the EAS task. Prefect
hears what happened and decides nothing: the truth is in SQL, and a job runs the same without it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any
from uuid import UUID
from weakref import WeakSet

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateDetails, StateType
from prefect.context import FlowRunContext, TagsContext, TaskRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from eas.control.graph import Node, blocked_by
from eas.control.orchestrator import Event, Happened
from eas.model import CHAIN, DO_WHILE, FOR_LOOP, LogEntry
from eas.states import TaskState
from eas.taskdb import attempts
from eas.taskdb.engine import TaskDatabase

LOG = logging.getLogger("eas.flows")

WINDOW = 2_500
"""Begins and ends of one process's task runs that the server may be behind with.

Its queue holds 10,000 events, of which it gets three for a task run; what comes then it drops.
"""
PATIENCE = 120.0
"""A server that records nothing for so long [s] is not waited for any more."""

BATCH_SHARE = 0.5
"""Share of ``max_task_runs`` that batches of equal size would use up; small ends take the rest."""


class _Met(State[None]):
    """The state of a dependency that is met; asking for its result costs no trip to another thread."""

    def result(self, *_: Any, **__: Any) -> None:
        """Return nothing: the products are in the file store, the metadata in SQL."""


@dataclass
class _Run:
    """A Prefect task run, of one EAS task or of a batch of up to ``expected``.

    ``open`` are the tasks that have not settled; ``run_id`` is known once it started.
    """

    label: str
    kind: str
    edges: list[_Run]
    expected: int = 1
    run_id: UUID | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    members: int = 0
    open: set[int] = field(default_factory=set)
    outcomes: dict[TaskState, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether no other member fits in."""
        return self.members >= self.expected

    @property
    def tally(self) -> str:
        """How many of a batch's tasks are in each state."""
        return ", ".join(f"{count} {state}" for state, count in sorted(self.outcomes.items()))

    def settle(self, task_id: int, state: TaskState) -> None:
        """Count a task that has settled."""
        self.open.discard(task_id)
        self.outcomes[state] = self.outcomes.get(state, 0) + 1

    def state(self) -> State[Any] | None:
        """Return the state in which the task run ends; None for a plain success."""
        bad = self.outcomes.keys() - {TaskState.DONE}
        failed = Cancelled if bad == {TaskState.CANCELLED} else Failed
        if self.expected == 1:
            return failed(message=self.reasons[0]) if bad else None
        message = f"{self.members} tasks: {self.tally}"
        return failed(message=f"{message}; first: {self.reasons[0]}") if bad else Completed(message=message)


class TaskRuns:
    """Opens and ends the Prefect task runs of one flow run.

    Parameters
    ----------
    max_task_runs:
        Above so many leaf tasks, one task run stands for a batch of siblings.

    Attributes
    ----------
    opened:
        How many task runs there are, or will be: as many rows as the server has in the end.
    """

    def __init__(self, database: TaskDatabase, max_task_runs: int) -> None:
        self.database = database
        self.max_task_runs = max_task_runs
        self.opened = 0
        self._runs: dict[int, _Run] = {}
        self._batches: dict[str, _Run] = {}
        self._batch_size = 1
        self._single_leaves = 0
        self._kinds: dict[str, Task[..., Coroutine[Any, Any, Any]]] = {}
        self._following: dict[int, _Run] = {}
        self._keys = itertools.count(1)
        self._coroutines: set[asyncio.Task[Any]] = set()
        self._begun = 0
        self._over = 0
        self._recorded = 0
        self._gate = asyncio.Lock()
        LIVING.add(self)

    def plan_for(self, leaves: int) -> None:
        """Decide how many tasks one task run stands for, given how many leaf tasks are known."""
        if leaves > self.max_task_runs:
            self._batch_size = max(2, ceil(leaves / max(1, self.max_task_runs * BATCH_SHARE)))

    def take(self, events: Sequence[Event], node_of: Callable[[int], Node]) -> None:
        """Show what happened."""
        failures = self._failures(event.node for event in events if event.what is Happened.SETTLED)
        for what, node in events:
            if what is Happened.EXPANDED:
                self._expanded(node, node_of)
            elif what is Happened.QUEUED:
                self._join(node, node_of)
            elif what is Happened.WITHDRAWN:
                self._withdrawn(node)
            elif not node.is_control or node.task_id not in self._runs:
                self._settled(node, node_of, failures)

    async def close(self) -> None:
        """Wait until every task run has ended."""
        for run in self._batches.values():
            run.ended.set()
        if self._coroutines:
            await asyncio.gather(*self._coroutines, return_exceptions=True)  # told by ``_forget``
        LIVING.discard(self)
        if (flow_run := _flow_run()) is not None:
            OPENED[flow_run] = self.opened

    def abandon(self, reason: str) -> None:
        """End the task runs of all tasks that have not settled, as cancelled: nobody follows them any more."""
        for run in {id(each): each for each in self._runs.values()}.values():
            if run.open:
                run.reasons.append(reason)
            for task_id in list(run.open):
                run.settle(task_id, TaskState.CANCELLED)
            run.ended.set()

    # -- what happened -------------------------------------------------------------------------

    def _expanded(self, node: Node, node_of: Callable[[int], Node]) -> None:
        """Show a control task's expansion; the chains that a large loop is made of are too many."""
        if node.parent_id is None:
            return  # the flow run itself stands for the whole chain
        if self._batch_size > 1 and (node.task_type == CHAIN or self.opened >= self.max_task_runs):
            return
        name = node.label
        if node.task_type == FOR_LOOP:
            name += f" ({len(node.children)} values)"
        elif node.task_type == DO_WHILE:
            name += f" (iteration {len(node.children)})"
        run = self._open(name, node.task_type or "control", self._edges(node, node_of))
        run.members = 1
        run.settle(node.task_id, TaskState.DONE)
        run.ended.set()
        self._runs[node.task_id] = run

    def _join(self, node: Node, node_of: Callable[[int], Node]) -> None:
        """Open a task run for a task, or let it join an open batch of its type."""
        if (known := self._runs.get(node.task_id)) and node.task_id in known.open:
            return  # it was taken off the queue in between: the same run goes on
        kind = node.task_type or "task"
        edges = self._edges(node, node_of)
        if self._batch_size == 1 and self._single_leaves < self.max_task_runs:
            self._single_leaves += 1
            run = self._open(node.label, kind, edges)
        else:
            run = self._batch(kind, edges)
        run.members += 1
        run.open.add(node.task_id)
        self._runs[node.task_id] = run

    def _batch(self, kind: str, edges: list[_Run]) -> _Run:
        run = self._batches.get(kind)
        if run is None or run.full:
            size = max(self._batch_size, 2)
            run = self._open(f"{kind} [batch of up to {size}]", kind, edges, size)
            self._batches[kind] = run
        return run

    def _settled(self, node: Node, node_of: Callable[[int], Node], failures: dict[int, _Failure]) -> None:
        if node.is_control and node.reason is None:
            return
        # Perhaps it never was on the queue: blocked, refused, or kept from an earlier job.
        self._join(node, node_of)
        run = self._runs[node.task_id]
        run.settle(node.task_id, node.state)
        if node.state is not TaskState.DONE:
            failure = failures.get(node.task_id, _Failure(blocked_by(node), []))
            run.reasons.append(node.reason or failure.reason)
            run.log += failure.log
        self._end_if_over(run)

    def _withdrawn(self, node: Node) -> None:
        """End the task run of a task that was taken off the queue: put back, the task gets a new one."""
        run = self._runs.get(node.task_id)
        if run is None or node.task_id not in run.open:
            return
        run.settle(node.task_id, TaskState.CANCELLED)
        run.reasons.append(node.reason or "taken off the queue")
        self._end_if_over(run)

    def _end_if_over(self, run: _Run) -> None:
        """End a task run whose tasks have settled, unless it is a batch that takes in more."""
        if not run.open and (run.full or self._batches.get(run.kind) is not run):
            run.ended.set()

    def _edges(self, node: Node, node_of: Callable[[int], Node]) -> list[_Run]:
        """Return the task runs that a task depends on; its nearest shown ancestor if on none."""
        makers = {id(run): run for maker in node.makers if (run := self._runs.get(maker))}
        parent = node.parent_id
        while not makers and parent is not None:
            if run := self._runs.get(parent):
                return [run]
            parent = node_of(parent).parent_id
        return list(makers.values())

    def _failures(self, nodes: Iterable[Node]) -> dict[int, _Failure]:
        bad = [node.task_id for node in nodes if node.state in (TaskState.FAILED, TaskState.STALLED)]
        if not bad:
            return {}
        with self.database.read() as connection:
            reasons = attempts.last_failures(connection, bad)
            logs = attempts.last_logs(connection, bad[:100])
        return {task_id: _Failure(reason, logs.get(task_id, [])) for task_id, reason in reasons.items()}

    # -- Prefect -------------------------------------------------------------------------------

    def _open(self, label: str, kind: str, edges: list[_Run], expected: int = 1) -> _Run:
        run = _Run(label, kind, edges, expected)
        self.opened += 1
        coroutine = asyncio.get_running_loop().create_task(self._follow(run))
        self._coroutines.add(coroutine)
        coroutine.add_done_callback(self._forget)
        return run

    def _forget(self, coroutine: asyncio.Task[Any]) -> None:
        self._coroutines.discard(coroutine)
        if not coroutine.cancelled() and (error := coroutine.exception()):
            LOG.warning("a Prefect task run was lost, its EAS task is not: %s", error)

    async def _follow(self, run: _Run) -> None:
        """Call Prefect's task for a run; it returns when the run has ended."""
        for edge in run.edges:
            await edge.started.wait()
        # Prefect draws an edge to the task run that a state belongs to, and waits unless the state
        # is final: the dependency itself is met already, whatever Prefect knows of it by now.
        wait_for = [
            _Met(type=StateType.COMPLETED, state_details=StateDetails(task_run_id=edge.run_id))
            for edge in run.edges
            if edge.run_id is not None
        ]
        await self._room()
        key = next(self._keys)
        self._following[key] = run
        try:
            # A tag would cost each task run two more requests: Prefect asks whether it is limited.
            with TagsContext(current_tags=set()):
                await self._task(run.kind)(run.label, key, return_state=True, wait_for=wait_for or None)
        finally:
            self._over += 1
            del self._following[key]
            run.started.set()

    async def _room(self) -> None:
        """Wait while the server is so far behind that it might lose what comes next."""
        async with self._gate:
            self._begun += 1
            window = max(1, WINDOW // max(1, len(LIVING)))
            heard = time.monotonic()
            while self._begun + self._over - self._recorded > window:
                before, self._recorded = self._recorded, await _recorded_changes()
                if self._recorded > before:
                    heard = time.monotonic()
                elif time.monotonic() - heard > PATIENCE:
                    LOG.warning("the Prefect server records no task runs any more: some may be lost there")
                    self._recorded = self._begun + self._over
                if self._begun + self._over - self._recorded > window:
                    await asyncio.sleep(1.0)

    def _task(self, kind: str) -> Task[..., Coroutine[Any, Any, Any]]:
        """Return the Prefect task that stands for one kind of EAS task; made once, as that is slow."""
        if kind not in self._kinds:

            @task(
                name=kind,
                task_run_name="{label}",
                persist_result=False,
                cache_policy=NO_CACHE,
                log_prints=False,
            )
            async def follow(label: str, run: int) -> State[Any] | None:
                return await self._until_ended(self._following[run])

            self._kinds[kind] = follow
        return self._kinds[kind]

    async def _until_ended(self, run: _Run) -> State[Any] | None:
        context = TaskRunContext.get()
        run.run_id = context.task_run.id if context else None
        run.started.set()
        await run.ended.wait()
        for entry in run.log[:200]:
            text = f"{entry.message}\n{entry.traceback}" if entry.traceback else entry.message
            get_run_logger().log(entry.level, text)
        if context and run.expected > 1:
            # The event that tells the server how it ended carries the name, too.
            context.task_run.name = f"{run.kind} [batch of {run.members}: {run.tally}]"
        return run.state()


LIVING: WeakSet[TaskRuns] = WeakSet()
"""Those of this process: they share one server."""


ENDED = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]
OPENED: dict[UUID, int] = {}
"""Flow runs of this process that are over: how many task runs each opened."""


def _flow_run() -> UUID | None:
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


async def _recorded_changes() -> int:
    """Return how many begins and ends of this flow run's task runs the server has recorded."""
    run = _flow_run()
    if run is None:
        return 0
    of_run = {"flow_runs": {"id": {"any_": [str(run)]}}}
    ended = {"task_runs": {"state": {"type": {"any_": ENDED}}}}
    async with get_client() as client:
        answers = [await client._client.post("/task_runs/count", json=of_run | more) for more in ({}, ended)]
    return sum(int(answer.json()) for answer in answers)


@dataclass(frozen=True)
class _Failure:
    reason: str
    log: list[LogEntry]
