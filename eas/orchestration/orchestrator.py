"""The orchestrator: advances one job from its root task to its end.

It is independent of Prefect. The drive loop (``eas.orchestration.drive``) calls ``step`` repeatedly and
receives the events: tasks that were expanded, queued or settled. ``open`` rebuilds the state in memory from
the task database, so the process may be killed at any line: each transaction leaves the job in a state from
which the next orchestrator continues.

Every transaction that writes first locks the job's row and checks two things: that this process
holds the job's lease, and that the job's revision is the one that was loaded. Operators increment the
revision when they change tasks; then nothing is written that was decided on the old state, and the
job is loaded again. Locking the job's row first makes orchestrator and operators exclude each other.
Workers never lock it: they lock an attempt and then its task, as operators do, and an orchestrator
writes neither before the attempt has ended. This order of locks prevents deadlocks.
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
from eas.errors import EASError, JobChangedError, LostLeaseError
from eas.maintenance import process_identity
from eas.model import DO_WHILE, QueuedAttempt
from eas.orchestration import reuse
from eas.orchestration.dependency_graph import IN_FLIGHT, DependencyGraph, Node
from eas.orchestration.expansion import JobExpander
from eas.orchestration.external_inputs import ExternalInputs
from eas.queues.base import JobQueue
from eas.registry import Registry
from eas.states import JobState, TaskState
from eas.taskdb import attempts, job_lease, jobs, product_claims, tasks
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.taskdb.queries import job_state

MAX_QUEUED_PER_TRANSACTION = 5_000
"""Maximum number of attempts queued in one transaction."""
QUEUE_BEFORE_EXPANSION = 1_000
"""Number of ready leaf tasks that are queued before further control tasks are expanded, so that workers start."""
MAX_READY_PER_PASS = 5_000
"""Maximum number of ready tasks handled between two writes."""
MAX_QUEUED_PER_STEP = 20_000
"""Approximate number of leaf tasks queued in one step. Each step collects ended attempts and renews the lease."""


class EventKind(StrEnum):
    """Kind of event of a task, for the flow that displays it."""

    EXPANDED = "expanded"
    QUEUED = "queued"
    SETTLED = "settled"
    WITHDRAWN = "withdrawn"
    """An operator withdrew it from the queue: it waits until it is rescheduled."""


class Event(NamedTuple):
    """An event of a task; ``at`` is its time by the database's clock [Unix s]."""

    what: EventKind
    node: Node
    at: float = 0.0


class Orchestrator:
    """Advances one job. One thread at a time may use it; ``open`` before, ``close`` after."""

    def __init__(
        self,
        database: TaskDatabase,
        queue: JobQueue,
        registry: Registry,
        job_id: int,
        *,
        lease: float = job_lease.LEASE_DURATION,
    ) -> None:
        self.database = database
        self.queue = queue
        self.registry = registry
        self.job_id = job_id
        self.driver = process_identity.process_name()
        self.lease = lease
        self.graph = DependencyGraph()
        self._lease_renewed = 0.0
        self._events: list[Event] = []
        self._seen: list[int] = []
        self._settled: list[int] = []
        self._written: set[int] = set()
        self._leaves: list[int] = []
        self._loops: list[int] = []
        self._external_inputs = ExternalInputs(database, self.graph, job_id, registry.dynamic_output_types())

    def open(self) -> None:
        """Take the job's lease and load the job. Raises LostLeaseError while another process drives it."""
        now = self.database.now()
        if not self.database.transact(lambda c: self._take_over(c, now)):
            raise LostLeaseError(
                f"job {self.job_id} is driven by another process right now",
                hint=f"let that one finish, or try again {self.lease:.0f} s after it was killed",
            )
        self._lease_renewed = time.monotonic()
        try:
            self.job = self.database.fetch(lambda c: jobs.get(c, self.job_id))
            chain = parse_chain(self.job.chain, self.job.source, self.registry)
            self._expander = Expander(chain, self.registry, self.job.seed)
            self._load()
            if not self.finished:
                self.queue.republish_lost()
        except BaseException:
            with contextlib.suppress(EASError):  # the lease expires by itself
                self.close()
            raise

    def close(self) -> None:
        """Release the job's lease."""
        self.database.transact(lambda c: job_lease.release(c, self.job_id, self.driver))

    @property
    def finished(self) -> bool:
        """Whether the job has ended and its final state is committed."""
        return JobState(self.job.state).final

    @property
    def paused_on_withdrawn_tasks(self) -> bool:
        """Whether only withdrawn tasks remain: the job pauses until an operator reschedules them."""
        moving = self.graph.in_flight or self._leaves or self.graph.ready or self._settled or self.graph.settled
        return bool(self.graph.withdrawn) and not (moving or self._loops or self.graph.unresolved_inputs)

    @property
    def busy(self) -> bool:
        """Whether the next step can continue immediately."""
        return not self.finished and bool(self.graph.ready or self._leaves or self._loops)

    def step(self) -> list[Event]:
        """Apply ended attempts, expand and queue ready tasks; return the events.

        A large job takes several; see ``busy``. Raises LostLeaseError when another process has taken the job over.
        """
        if self.finished:
            return []
        try:
            self._apply_ended_attempts()
            self._keep_lease()
            queued = 0
            while queued < MAX_QUEUED_PER_STEP:
                self._advance()
                queued += min(len(self._leaves), MAX_QUEUED_PER_TRANSACTION)
                if not self._commit_decisions() and not self.graph.ready and not self._loops:
                    break
            self._finish()
        except JobChangedError:
            self._reload()
        events, self._events = self._events, []
        return events

    # -- loading -------------------------------------------------------------------------------

    def _load(self) -> None:
        """Load the job from the task database and mark it as running."""
        while True:
            self._read()
            if self.finished:
                return
            try:
                self.job = self.database.transact(self._mark_running)
                return
            except JobChangedError:
                continue  # an operator changed it in between

    def _read(self) -> None:
        # Read the job before its tasks: a change in between is then detected by the newer revision.
        self.job = self.database.fetch(lambda c: jobs.get(c, self.job_id))
        self.graph.clear()
        for part in (self._seen, self._settled, self._written, self._leaves, self._loops):
            part.clear()
        self._external_inputs.reset()
        self.expander = JobExpander(self.database, self.graph, self._expander, self.job, driver=self.driver)
        self.expander.load()
        if self.finished:
            return
        for node in list(self.graph.nodes.values()):
            if node.is_control and node.state is TaskState.RUNNING and node.open_children == 0:
                self._settle_if_empty(node)

    def _reload(self) -> None:
        """Load the job again after an operator changed its tasks, and report the outcome of those in flight."""
        before = [node.task_id for node in self.graph.nodes.values() if node.state in IN_FLIGHT]
        now = self.database.now()
        if not self.database.transact(lambda c: job_lease.take(c, self.job_id, self.driver, self.lease, now)):
            raise LostLeaseError(f"job {self.job_id} was taken over by another process", hint="leave it to that one")
        self._load()
        decided_now = set(self.graph.settled)
        for task_id in before:
            node = self.graph.nodes[task_id]
            if node.withdrawn:
                self._events.append(Event(EventKind.WITHDRAWN, node, now))
            elif node.state.final and task_id not in decided_now:
                self._events.append(Event(EventKind.SETTLED, node, now))

    # -- one step ------------------------------------------------------------------------------

    def _take_over(self, connection: Connection, now: float) -> bool:
        """Take the job's lease; without waiting if its last driver was a process of this host that is gone."""
        last = jobs.get(connection, self.job_id).driver
        if last is not None and (last == process_identity.reservation() or process_identity.is_dead_here(last)):
            job_lease.release(connection, self.job_id, last)
        return job_lease.take(connection, self.job_id, self.driver, self.lease, now)

    def _mark_running(self, connection: Connection) -> AnyRow:
        self._lock_job(connection)
        started = self.job.started_at or self.database.now()
        jobs.set_state(connection, self.job_id, JobState.RUNNING, started_at=started)
        return jobs.get(connection, self.job_id)

    def _lock_job(self, connection: Connection) -> None:
        """Lock the job's row until the commit, and check that this process drives the job, as it was loaded."""
        job_lease.require_driver(connection, self.job_id, self.driver, self.job.revision)

    def _keep_lease(self) -> None:
        if time.monotonic() - self._lease_renewed < self.lease / 4:
            return
        now = self.database.now()
        if not self.database.transact(lambda c: job_lease.renew(c, self.job_id, self.driver, now)):
            raise LostLeaseError(f"job {self.job_id} was taken over by another process", hint="leave it to that one")
        self._lease_renewed = time.monotonic()

    def _apply_ended_attempts(self) -> None:
        """Apply the attempts that ended since the last step: one query for all."""
        revision, ended = self.database.fetch(lambda c: job_state.ended_attempts(c, self.job_id))
        if revision != self.job.revision:
            raise JobChangedError(f"the tasks of job {self.job_id} were changed", hint="load the job again")
        for row in ended:
            self._seen.append(row.id)
            state = TaskState(row.task_state)
            if state.final and not self.graph.nodes[row.task_id].state.final:
                self._written.add(row.task_id)
                self.graph.settle(row.task_id, state)

    def _advance(self) -> None:
        """Expand and configure ready tasks until enough leaf tasks can be queued, or nothing more is ready."""
        while len(self._leaves) < QUEUE_BEFORE_EXPANSION:
            self._close_parents()
            loops, self._loops = self._loops, []
            for loop in loops:
                self._end_iteration(self.graph.nodes[loop])
            self._handle_ready()
            if not self.graph.ready and not self._loops and not self._check_external_inputs():
                self._close_parents()
                if not self.graph.ready and not self._loops:
                    return

    def _handle_ready(self) -> None:
        """Handle the first ready tasks; put the tasks that become ready by this before the others.

        This way the first iterations of nested loops run while later ones are still being expanded.
        """
        ready = self.graph.ready
        nodes = [self.graph.nodes[ready.popleft()] for _ in range(min(len(ready), MAX_READY_PER_PASS))]
        nodes = [node for node in nodes if node.state is TaskState.WAITING]
        others = len(ready)
        self._leaves.extend(node.task_id for node in nodes if not node.spec.pending and not node.is_control)
        self.expander.configure([node for node in nodes if node.spec.pending])
        left = self._expand([node for node in nodes if node.is_control and not node.spec.pending])
        ready.extend(node.task_id for node in left)
        ready.rotate(len(ready) - others)

    def _expand(self, controls: Sequence[Node]) -> Sequence[Node]:
        """Expand as many control tasks as fit into one transaction; return the others."""
        expanded, left = self.expander.expand(controls)
        now = self.database.now()
        self._events.extend(Event(EventKind.EXPANDED, node, now) for node in expanded)
        for node in expanded:
            if node.open_children == 0:
                self._settle_if_empty(node)
        return left

    def _close_parents(self) -> None:
        self._settled.extend(self.graph.take_settled(self._has_ended))

    def _has_ended(self, control: Node) -> bool:
        if control.task_type == DO_WHILE and not control.bad_children:
            self._loops.append(control.task_id)
            return False
        return True

    def _settle_if_empty(self, control: Node) -> None:
        """Settle an expanded control task that has no open child (or decide its next iteration)."""
        if self._has_ended(control):
            self.graph.settle(control.task_id, self.graph.outcome_of(control))

    def _end_iteration(self, loop: Node) -> None:
        """After an iteration of a do-while loop: add the next one, or settle the loop."""
        if self.expander.add_iteration_if_repeated(loop):
            self._events.append(Event(EventKind.EXPANDED, loop, self.database.now()))
        elif not loop.state.final:
            self.graph.settle(loop.task_id, TaskState.DONE)

    def _check_external_inputs(self) -> bool:
        """Look for inputs that no task of this job makes; return whether anything changed."""
        moving = self.graph.in_flight or self._leaves or self.graph.ready or self._settled
        # A withdrawn task may still make the inputs of others once it is rescheduled.
        idle = not moving and not self.graph.withdrawn
        if self.graph.unresolved_inputs:
            return self._external_inputs.resolve(idle=idle)
        return idle and self._break_deadlock()

    def _break_deadlock(self) -> bool:
        """Settle all waiting tasks if nothing runs and nothing can start, because they depend on each other."""
        stuck = list(self.graph.waiting())
        if not stuck:
            return False
        cycle = self.graph.find_cycle()
        names = " -> ".join(f"{node.label} (task {node.task_id})" for node in [*cycle, *cycle[:1]])
        reason = f"dependency cycle: {names}" if cycle else "it is part of a dependency cycle"
        for node in stuck:
            if not node.state.final:
                self.graph.settle(node.task_id, TaskState.FAILED if node in cycle else TaskState.BLOCKED, reason)
        return True

    def _commit_decisions(self) -> bool:
        """Write decisions and queue leaf tasks in one transaction; return whether to advance again.

        The commit is the boundary between this process and the next one: states, the marks of seen
        attempts and the queued attempts become visible together. After a crash before it, the
        next orchestrator makes the same decisions; after a crash after it, only the messages to
        workers are missing, and the next maintenance pass publishes them.
        """
        leaves, self._leaves = self._leaves[:MAX_QUEUED_PER_TRANSACTION], self._leaves[MAX_QUEUED_PER_TRANSACTION:]
        settled = self._settled
        if not (leaves or settled or self._seen):
            return False
        nodes = [self.graph.nodes[leaf] for leaf in leaves]
        states_to_write = {
            node: (self.graph.nodes[node].state, self.graph.nodes[node].reason)
            for node in settled
            if node not in self._written
        }

        now = self.database.now()

        def work(connection: Connection) -> tuple[list[QueuedAttempt], reuse.Decision]:
            # If this process was stopped for longer than the lease lasts, another one drives the job now.
            self._lock_job(connection)
            tasks.settle(connection, states_to_write, now)
            attempts.mark_seen(connection, self._seen)
            decision = reuse.decide(connection, self.job, leaves)
            wanted = [leaf for leaf in leaves if leaf not in decision]
            decision.refused.update(product_claims.reclaim_outputs(connection, self.job_id, wanted))
            tasks.accept(connection, list(decision.kept.items()), now)
            items = [self._queue_item(node) for node in nodes if node.task_id not in decision]
            return attempts.queue(connection, items, now), decision

        queued, decision = self.database.transact(work)
        self.queue.publish(queued)
        self._apply(nodes, decision, now)
        self._events.extend(Event(EventKind.SETTLED, self.graph.nodes[node], now) for node in settled)
        self._settled, self._seen = [], []
        self._written.clear()
        self._written.update(decision.kept)
        return bool(decision.kept or decision.refused or self._leaves)

    def _apply(self, nodes: Sequence[Node], decision: reuse.Decision, now: float) -> None:
        """Apply to the graph what the transaction decided for ready leaf tasks."""
        for node in nodes:
            if node.task_id in decision.kept:
                self.graph.settle(node.task_id, TaskState.DONE, "kept from an earlier job")
            elif node.task_id in decision.refused:
                self.graph.settle(node.task_id, TaskState.FAILED, decision.refused[node.task_id])
            else:
                node.attempt_number += 1
                self.graph.set_state(node.task_id, TaskState.QUEUED)
                self._events.append(Event(EventKind.QUEUED, node, now))

    def _queue_item(self, node: Node) -> attempts.QueueItem:
        assert node.task_type is not None
        return attempts.QueueItem(node.task_id, self.job_id, node.task_type, node.attempt_number + 1, self.job.priority)

    def _finish(self) -> None:
        root = self.graph.nodes[self.expander.root_id]
        if not root.state.final or self._settled or self.graph.settled:
            return
        state = {TaskState.DONE: JobState.DONE, TaskState.CANCELLED: JobState.CANCELLED}.get(
            root.state, JobState.FAILED
        )

        now = self.database.now()

        def work(connection: Connection) -> AnyRow:
            self._lock_job(connection)
            jobs.set_state(connection, self.job_id, state, ended_at=now)
            job_lease.release(connection, self.job_id, self.driver)
            return jobs.get(connection, self.job_id)

        self.job = self.database.transact(work)
