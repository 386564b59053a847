"""The orchestrator: advances one job from its root task to its end.

It knows nothing of Prefect. A driver (the ``run-chain`` flow, the supervisor, a test) calls
``step`` again and again and is told what became ready and what settled. Everything it holds in
memory is rebuilt from SQL by ``open``, so it may be killed at any line: each transaction leaves the
job in a state from which the next orchestrator goes on. Operators change the job's tasks in SQL and
count up its revision: then nothing is written that was decided before, and all is loaded anew.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from eas.chains.expansion import Expander
from eas.chains.grammar import parse_chain
from eas.control import machine, reuse
from eas.control.graph import Graph, Node
from eas.control.growth import Growth
from eas.control.outside import Outside
from eas.errors import EASError, JobChangedError, LostLeaseError
from eas.model import CONTROL_TASKS, DO_WHILE, QueuedAttempt
from eas.queues.base import JobQueue
from eas.registry import Registry
from eas.states import JobState, TaskState
from eas.taskdb import attempts, jobs, tasks
from eas.taskdb.engine import AnyRow, TaskDatabase

QUEUE_CHUNK = 5_000
"""Attempts put on the queue in one transaction."""

IN_FLIGHT = (TaskState.QUEUED, TaskState.RUNNING)


class Happened(StrEnum):
    """What happened to a task."""

    EXPANDED = "expanded"
    QUEUED = "queued"
    SETTLED = "settled"
    WITHDRAWN = "withdrawn"
    """An operator took it off the queue: it waits, and is queued again only when it is rescheduled."""


class Event(NamedTuple):
    """Something that a driver may want to show."""

    what: Happened
    node: Node


class Orchestrator:
    """Drives one job. One thread at a time may use it; ``open`` before, ``close`` after."""

    def __init__(
        self,
        database: TaskDatabase,
        queue: JobQueue,
        registry: Registry,
        job_id: int,
        *,
        lease: float = 60.0,
        max_stalls: int = 5,
    ) -> None:
        self.database = database
        self.queue = queue
        self.registry = registry
        self.job_id = job_id
        self.driver = machine.process_name()
        self.lease = lease
        self.max_stalls = max_stalls
        self.graph = Graph()
        self._lease_renewed = 0.0
        self._events: list[Event] = []
        self._seen: list[int] = []
        self._settled: list[int] = []
        self._written: set[int] = set()
        self._leaves: list[int] = []
        self._loops: list[int] = []
        self._in_flight = 0
        self._outside = Outside(database, self.graph, job_id, registry.open_types())

    def open(self) -> None:
        """Take the job over and load it. Raises LostLeaseError while another one drives it."""
        now = self.database.now()
        if not self.database.transact(lambda c: self._take_over(c, now)):
            raise LostLeaseError(
                f"job {self.job_id} is driven by another process right now",
                cure=f"let that one finish, or try again {self.lease:.0f} s after it was killed",
            )
        self._lease_renewed = time.monotonic()
        try:
            self.job = self.database.fetch(lambda c: jobs.get(c, self.job_id))
            chain = parse_chain(self.job.chain, self.job.source, self.registry)
            self._expander = Expander(chain, self.registry, self.job.seed)
            self._load()
            if not self.finished:
                self.queue.sweep()
        except BaseException:
            with contextlib.suppress(EASError):  # the lease runs out by itself
                self.close()
            raise

    def close(self) -> None:
        """Let others drive the job."""
        self.database.transact(lambda c: jobs.drop_lease(c, self.job_id, self.driver))

    @property
    def finished(self) -> bool:
        """Whether the whole job is settled, and SQL says so."""
        return JobState(self.job.state).final

    @property
    def resting(self) -> bool:
        """Whether nothing can move any more until an operator puts back what was taken off the queue."""
        moving = self._in_flight or self._leaves or self.graph.ready or self._settled or self.graph.settled
        return bool(self.graph.held) and not (moving or self._loops or self.graph.orphans)

    @property
    def leaves(self) -> int:
        """How many leaf tasks there are, as far as the job has grown."""
        return sum(count for (task_type, _), count in self.graph.counts.items() if task_type not in CONTROL_TASKS)

    def step(self) -> list[Event]:
        """Take in what ended, expand and queue what became ready; return what happened.

        Raises LostLeaseError when another orchestrator has taken the job over.
        """
        if self.finished:
            return []
        try:
            self._collect()
            self._keep_lease()
            while True:
                self._advance()
                if not self._write() and not self.graph.ready and not self._loops:
                    break
            self._finish()
        except JobChangedError:
            self._reload()
        events, self._events = self._events, []
        return events

    # -- loading -------------------------------------------------------------------------------

    def _load(self) -> None:
        """Build up from SQL all that is held in memory."""
        while True:
            self._read()
            if self.finished:
                return
            try:
                self.job = self.database.transact(self._mark_running)
                return
            except JobChangedError:
                continue  # an operator was quicker

    def _read(self) -> None:
        # The job first: what changes after that is noticed by its revision.
        self.job = self.database.fetch(lambda c: jobs.get(c, self.job_id))
        self.graph.clear()
        for part in (self._seen, self._settled, self._written, self._leaves, self._loops):
            part.clear()
        self._outside.forget()
        self.growth = Growth(
            self.database, self.graph, self._expander, self.job, driver=self.driver, max_stalls=self.max_stalls
        )
        self.growth.load()
        nodes = list(self.graph.nodes.values())
        self._in_flight = sum(node.state in IN_FLIGHT and not node.is_control for node in nodes)
        if self.finished:
            return
        for node in nodes:
            if node.is_control and node.state is TaskState.RUNNING and node.open_children == 0:
                self._control_is_empty(node)

    def _reload(self) -> None:
        """An operator changed the job's tasks: start anew from SQL, and tell what became of those in flight."""
        before = [node.task_id for node in self.graph.nodes.values() if node.state in IN_FLIGHT]
        now = self.database.now()
        if not self.database.transact(lambda c: jobs.take_lease(c, self.job_id, self.driver, self.lease, now)):
            raise LostLeaseError(f"job {self.job_id} was taken over by another process", cure="leave it to that one")
        self._load()
        decided_now = set(self.graph.settled)
        for task_id in before:
            node = self.graph.nodes[task_id]
            if node.held:
                self._events.append(Event(Happened.WITHDRAWN, node))
            elif node.state.final and task_id not in decided_now:
                self._events.append(Event(Happened.SETTLED, node))

    # -- one step ------------------------------------------------------------------------------

    def _take_over(self, connection: Connection, now: float) -> bool:
        """Take the job's lease; at once where its last driver was a process of this machine that is gone."""
        last = jobs.get(connection, self.job_id).driver
        if last is not None and (last == machine.reservation() or machine.is_gone(last)):
            jobs.drop_lease(connection, self.job_id, last)
        return jobs.take_lease(connection, self.job_id, self.driver, self.lease, now)

    def _mark_running(self, connection: Connection) -> AnyRow:
        self._require(connection)
        started = self.job.started_at or attempts.now()
        jobs.set_state(connection, self.job_id, JobState.RUNNING, started_at=started)
        return jobs.get(connection, self.job_id)

    def _require(self, connection: Connection) -> None:
        """Write only while the job is ours, and as it was loaded."""
        jobs.require_driver(connection, self.job_id, self.driver, self.job.revision)

    def _keep_lease(self) -> None:
        if time.monotonic() - self._lease_renewed < self.lease / 4:
            return
        now = self.database.now()
        if not self.database.transact(lambda c: jobs.keep_lease(c, self.job_id, self.driver, now)):
            raise LostLeaseError(f"job {self.job_id} was taken over by another process", cure="leave it to that one")
        self._lease_renewed = time.monotonic()

    def _collect(self) -> None:
        """Take in the attempts that ended since the last look: one query for all."""
        revision, ended = self.database.fetch(lambda c: attempts.news(c, self.job_id))
        if revision != self.job.revision:
            raise JobChangedError(f"the tasks of job {self.job_id} were changed", cure="load the job again")
        for row in ended:
            self._seen.append(row.id)
            state = TaskState(row.task_state)
            if state.final and not self.graph.nodes[row.task_id].state.final:
                self._in_flight -= 1
                self._written.add(row.task_id)
                self.graph.settle(row.task_id, state)

    def _advance(self) -> None:
        """Expand, configure and decide all that can be, until only leaf tasks are left to queue."""
        while True:
            self._close_parents()
            loops, self._loops = self._loops, []
            for loop in loops:
                self._control_result(self.graph.nodes[loop])
            ready = [self.graph.nodes[self.graph.ready.popleft()] for _ in range(len(self.graph.ready))]
            ready = [node for node in ready if node.state is TaskState.WAITING]
            self._leaves.extend(node.task_id for node in ready if not node.pending and not node.is_control)
            self.growth.configure([node for node in ready if node.pending])
            self._expand([node for node in ready if node.is_control and not node.pending])
            if not self.graph.ready and not self._loops and not self._look_outside():
                self._close_parents()
                if not self.graph.ready and not self._loops:
                    return

    def _expand(self, controls: Sequence[Node]) -> None:
        expanded = self.growth.expand(controls)
        self._events.extend(Event(Happened.EXPANDED, node) for node in expanded)
        for node in expanded:
            if node.open_children == 0:
                self._control_is_empty(node)

    def _close_parents(self) -> None:
        self._settled.extend(self.graph.take_settled(self._decide))

    def _decide(self, control: Node) -> bool:
        if control.task_type == DO_WHILE and not control.bad_children:
            self._loops.append(control.task_id)
            return False
        return True

    def _control_is_empty(self, control: Node) -> None:
        """Settle an expanded control task that has no open child (or decide its next iteration)."""
        if self._decide(control):
            self.graph.settle(control.task_id, self.graph.outcome_of(control))

    def _control_result(self, loop: Node) -> None:
        """After an iteration of a do-while loop: once more, or done."""
        if self.growth.repeats(loop):
            self._events.append(Event(Happened.EXPANDED, loop))
        elif not loop.state.final:
            self.graph.settle(loop.task_id, TaskState.DONE)

    def _look_outside(self) -> bool:
        """See to inputs that no task of this job makes; whether something moved."""
        moving = self._in_flight or self._leaves or self.graph.ready or self._settled
        # What an operator holds back may still make whatever the others wait for.
        idle = not moving and not self.graph.held
        if self.graph.orphans:
            return self._outside.look(idle=idle)
        return idle and self._break_deadlock()

    def _break_deadlock(self) -> bool:
        """Nothing runs and nothing can start: whatever still waits, waits for itself."""
        stuck = list(self.graph.waiting())
        if not stuck:
            return False
        cycle = self.graph.find_cycle()
        names = " -> ".join(f"{node.label} (task {node.task_id})" for node in [*cycle, *cycle[:1]])
        reason = f"dependency cycle: {names}" if cycle else "it waits for something that waits for it"
        for node in stuck:
            if not node.state.final:
                self.graph.settle(node.task_id, TaskState.FAILED if node in cycle else TaskState.BLOCKED, reason)
        return True

    def _write(self) -> bool:
        """Write down what was decided, and queue leaf tasks; whether any was settled instead."""
        leaves, self._leaves = self._leaves[:QUEUE_CHUNK], self._leaves[QUEUE_CHUNK:]
        settled = self._settled
        if not (leaves or settled or self._seen):
            return False
        nodes = [self.graph.nodes[leaf] for leaf in leaves]
        unwritten = {
            node: (self.graph.nodes[node].state, self.graph.nodes[node].reason)
            for node in settled
            if node not in self._written
        }

        def work(connection: Connection) -> tuple[list[QueuedAttempt], reuse.Decision]:
            now = attempts.now()
            # Had we been held up beyond the lease, another one would have gone on from here.
            self._require(connection)
            tasks.settle(connection, unwritten, now)
            attempts.mark_seen(connection, self._seen)
            decision = reuse.decide(connection, self.job, [node.task_id for node in nodes])
            tasks.accept(connection, list(decision.kept.items()), now)
            items = [self._item(node) for node in nodes if node.task_id not in decision]
            return attempts.queue(connection, items, now), decision

        queued, decision = self.database.transact(work)
        self.queue.publish(queued)
        self._take_in(nodes, decision)
        self._events.extend(Event(Happened.SETTLED, self.graph.nodes[node]) for node in settled)
        self._settled, self._seen = [], []
        self._written.clear()
        self._written.update(decision.kept)
        return bool(decision.kept or decision.refused or self._leaves)

    def _take_in(self, nodes: Sequence[Node], decision: reuse.Decision) -> None:
        """Bring the graph up to what the transaction decided for ready leaf tasks."""
        for node in nodes:
            if node.task_id in decision.kept:
                self.graph.settle(node.task_id, TaskState.DONE, "kept from an earlier job")
            elif node.task_id in decision.refused:
                self.graph.settle(node.task_id, TaskState.FAILED, decision.refused[node.task_id])
            else:
                node.number += 1
                self._in_flight += 1
                self.graph.move(node.task_id, TaskState.QUEUED)
                self._events.append(Event(Happened.QUEUED, node))

    def _item(self, node: Node) -> attempts.QueueItem:
        assert node.task_type is not None
        return attempts.QueueItem(node.task_id, self.job_id, node.task_type, node.number + 1, self.job.priority)

    def _finish(self) -> None:
        root = self.graph.nodes[self.growth.root_id]
        if not root.state.final or self._settled or self.graph.settled:
            return
        state = {TaskState.DONE: JobState.DONE, TaskState.CANCELLED: JobState.CANCELLED}.get(
            root.state, JobState.FAILED
        )

        def work(connection: Connection) -> AnyRow:
            self._require(connection)
            jobs.set_state(connection, self.job_id, state, ended_at=attempts.now())
            jobs.drop_lease(connection, self.job_id, self.driver)
            return jobs.get(connection, self.job_id)

        self.job = self.database.transact(work)
