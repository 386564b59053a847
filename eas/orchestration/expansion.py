"""Expansion of control tasks into children, first in the task database and then in the graph.

All children of one control task are inserted in the transaction that marks it as expanded, so a
killed orchestrator leaves it either untouched or complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import TypeVar

from sqlalchemy import Connection

from eas.chains.expansion import Expander
from eas.errors import RequestError
from eas.model import CONDITIONAL, DO_WHILE, TaskSpec
from eas.orchestration.dependency_graph import DependencyGraph, Node
from eas.registry import Registry
from eas.states import TaskState
from eas.taskdb import attempts, job_lease, products, tasks
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.taskdb.product_claims import Registered
from eas.taskdb.queries import job_state

TASKS_PER_TRANSACTION = 5_000
"""Approximate number of tasks inserted in one transaction; the children of one control task are never split."""

T = TypeVar("T")


class JobExpander:
    """Adds tasks to one job: to the task database, and to the graph of its orchestrator."""

    def __init__(
        self,
        database: TaskDatabase,
        graph: DependencyGraph,
        expander: Expander,
        job: AnyRow,
        *,
        driver: str,
    ) -> None:
        self.database = database
        self.graph = graph
        self.expander = expander
        self.job = job
        self.driver = driver
        self.root_id = 0

    def load(self) -> None:
        """Rebuild the graph from the task database."""
        job = self.job.id
        rows, links, numbers = self.database.fetch(
            lambda c: (job_state.tasks_of_job(c, job), job_state.product_links(c, job), job_state.last_numbers(c, job))
        )
        files: dict[int, dict[str, dict[str, str]]] = {}
        for link in links:
            files.setdefault(link.task_id, {"in": {}, "out": {}})[link.direction][link.semantic] = link.name
        shared: dict[str, dict[str, object]] = {}
        for row in rows:
            spec = _spec(row, files.get(row.id, {}), shared)
            state = TaskState(row.state)
            node = Node(row.id, row.parent_id, spec, state, row.reason)
            node.attempt_number = numbers.get(row.id, 0)
            node.withdrawn = row.held_at is not None and state is TaskState.WAITING
            self.graph.add(node)
            if not _expands_again(node):
                node.forget_details()
        self.root_id = rows[0].id
        directories = {row.id: row.working_directory for row in rows}
        for link in sorted(links, key=lambda link: (_maker_rank(self.graph.nodes[link.task_id]), link.task_id)):
            if link.direction == "out":
                self._make(link.task_id, link.product_id, (directories[link.task_id], link.name))
        for link in links:
            if link.direction == "in":
                self.graph.add_input(link.task_id, link.product_id)
        for row in rows:
            if row.requires != "[]":
                self._require(self.graph.nodes[row.id], json.loads(row.requires))
        for row in rows:
            self.graph.mark_ready(row.id)

    def expand(self, controls: Sequence[Node]) -> tuple[list[Node], Sequence[Node]]:
        """Expand the first of these control tasks, as many as fit into one transaction.

        Returns the expanded control tasks, and those left for the next call. A control task that cannot be expanded
        is settled as failed.
        """
        batch: list[tuple[Node, list[TaskSpec]]] = []
        size = taken = 0
        for control in controls:
            taken += 1
            children = self._or_fail(control, self._first_children)
            if children is not None:
                batch.append((control, children))
                size += len(children) + 1
            if size >= TASKS_PER_TRANSACTION:
                break
        return self._insert(batch), controls[taken:]

    def configure(self, pending: Sequence[Node]) -> None:
        """Configure tasks whose requested metadata have become available."""
        for node in pending:
            spec = self._or_fail(node, self._reconfigured)
            if spec is None:
                continue
            registered = self._write_configured(node.task_id, spec)
            self.graph.configured(node.task_id, spec)
            self._connect([node], registered, requires=False)

    def add_iteration_if_repeated(self, loop: Node) -> bool:
        """After an iteration of a do-while loop: add the next one and return True, or return False.

        Where the criterion cannot be evaluated, the loop is settled as failed.
        """
        spec = loop.details
        iteration = len(loop.children)
        body = self.graph.nodes[loop.children[-1]]
        names = self.expander.repeat_names(spec)

        def criterion(_: Node) -> bool:
            requested = self._requested_metadata(body, names, children=True)
            return self.expander.repeat(spec, iteration, requested)

        if not self._or_fail(loop, criterion):
            return False
        children = self._or_fail(loop, lambda _: list(self.expander.children(spec, iteration=iteration + 1)))
        return bool(children and self._insert([(loop, children)]))

    def _first_children(self, control: Node) -> list[TaskSpec]:
        spec = control.details
        if spec.task_type == CONDITIONAL:
            return list(self.expander.children(spec, branch=self.expander.criterion(spec)))
        return list(self.expander.children(spec, iteration=1 if spec.task_type == DO_WHILE else None))

    def _reconfigured(self, node: Node) -> TaskSpec:
        return self.expander.reconfigure(node.details, self._requested_metadata(node, node.details.requires))

    def _write_configured(self, task_id: int, spec: TaskSpec) -> Registered:
        described = fingerprint(spec, self.expander.registry, self.job.seed)

        def work(connection: Connection) -> Registered:
            job_lease.require_driver(connection, self.job.id, self.driver, self.job.revision)
            return tasks.configure(connection, self.job.id, task_id, spec, described)

        return self.database.transact(work)

    def _requested_metadata(
        self, node: Node, names: Sequence[str], *, children: bool = False
    ) -> dict[str, Mapping[str, object]]:
        """Return the output metadata of the siblings (or children) that a task asks for."""
        if not names:
            return {}
        found: dict[str, int] = {}
        for name in names:
            other = self.graph.child(node, name) if children else self.graph.sibling(node, name)
            if other is None:
                raise RequestError(f"no task called {name!r} in {node.label}", hint="name one of its tasks")
            found[name] = other.task_id
        outputs = self.database.fetch(lambda c: job_state.outputs_of(c, found.values()))
        return {name: outputs.get(task_id, {}) for name, task_id in found.items()}

    def _or_fail(self, node: Node, work: Callable[[Node], T]) -> T | None:
        """Return what ``work`` returns for a task, or settle the task as failed and return None."""
        try:
            return work(node)
        except RequestError as error:  # only errors of the chain: an unavailable database must not fail the task
            self.graph.settle(node.task_id, TaskState.FAILED, str(error))
            return None

    def _insert(self, batch: Sequence[tuple[Node, Sequence[TaskSpec]]]) -> list[Node]:
        """Insert the children of control tasks, and mark these as expanded, in one transaction."""
        if not batch:
            return []
        flat = [(control.task_id, spec) for control, children in batch for spec in children]
        now = self.database.now()

        def work(connection: Connection) -> tuple[int, Registered]:
            job_lease.require_driver(connection, self.job.id, self.driver, self.job.revision)
            # A large job expands for longer than a lease lasts.
            job_lease.renew(connection, self.job.id, self.driver, now)
            first = tasks.reserve(connection, len(flat)) if flat else 0
            new = {
                first + offset: tasks.NewTask(parent, spec, fingerprint(spec, self.expander.registry, self.job.seed))
                for offset, (parent, spec) in enumerate(flat)
            }
            attempts.set_task_states(connection, (control.task_id for control, _ in batch), TaskState.RUNNING)
            registered = tasks.add(
                connection, self.job.id, new, retries=self.job.retries, max_stalls=self.job.max_stalls, now=now
            )
            return first, registered

        first, registered = self.database.transact(work)
        nodes = [Node(first + offset, parent, spec) for offset, (parent, spec) in enumerate(flat)]
        for node in nodes:
            self.graph.add(node)
        for control, _ in batch:
            if control.state is TaskState.WAITING:
                self.graph.set_state(control.task_id, TaskState.RUNNING)
            if not _expands_again(control):
                control.forget_details()
        self._connect(nodes, registered)
        return [control for control, _ in batch]

    def _connect(self, nodes: Sequence[Node], registered: Registered, *, requires: bool = True) -> None:
        """Record dependencies of new tasks: all products made first, so that readers find them in any order."""
        for node, product in _task_products(nodes, "outputs"):
            self._make(node.task_id, registered.ids[product], product)
        for node, product in _task_products(nodes, "inputs"):
            self.graph.add_input(node.task_id, registered.ids[product])
        for node in nodes:
            if requires:
                self._require(node, node.details.requires)
            self.graph.mark_ready(node.task_id)
            if not _expands_again(node):
                node.forget_details()
        for task_id, reason in registered.refused.items():
            self.graph.settle(task_id, TaskState.FAILED, reason)

    def _make(self, task_id: int, product_id: int, product: products.Product) -> None:
        """Record the maker of a product; a second maker is settled as failed."""
        other = self.graph.add_output(task_id, product_id)
        if other is not None and self.graph.nodes[task_id].state is TaskState.WAITING:
            maker = self.graph.nodes[other]
            reason = f"two tasks make {product[1]!r} in {product[0]!r}: this one and {maker.label} (task {other})"
            self.graph.settle(task_id, TaskState.FAILED, reason)

    def _require(self, node: Node, names: Sequence[str]) -> None:
        """Record which siblings a task needs; one that names an unknown sibling is settled as failed."""
        unknown = self.graph.add_sibling_dependencies(node.task_id, names)
        if unknown is not None and not node.state.final:
            reason = f"requires_metadata_from names {unknown!r}, but no earlier sibling is called that"
            self.graph.settle(node.task_id, TaskState.FAILED, reason)


def _maker_rank(node: Node) -> int:
    """Return the rank of a task among several makers of one product: tasks that have run or are in flight first."""
    if node.state in (TaskState.DONE, TaskState.QUEUED, TaskState.RUNNING):
        return 0
    return 1 if node.state is TaskState.WAITING else 2


def _expands_again(node: Node) -> bool:
    """Return whether the settings of a task are still needed: to configure or expand it, or to repeat a loop."""
    if node.state is TaskState.WAITING:
        return node.is_control or node.spec.pending
    return node.task_type == DO_WHILE and not node.state.final


def _task_products(nodes: Iterable[Node], side: str) -> Iterator[tuple[Node, products.Product]]:
    for node in nodes:
        if not node.spec.pending:
            for name in getattr(node.details, side).values():
                yield node, (node.details.working_directory, name)


def fingerprint(spec: TaskSpec, registry: Registry, seed: str) -> str | None:
    """Return the SHA-256 of what determines a task's products; None if it makes none.

    The job's seed is included only if the task's code may draw random numbers. Random numbers in expressions
    need no seed here: the expressions are evaluated already, and their values are in settings and file names.
    """
    if spec.pending or not spec.outputs or spec.task_type is None or spec.is_control:
        return None
    task_type = registry.task_types.get(spec.task_type)
    uses_seed = task_type is None or task_type.uses_seed(spec.settings)
    described = [
        spec.task_type,
        spec.working_directory,
        dict(spec.settings),
        dict(spec.inputs),
        dict(spec.outputs),
        seed if uses_seed else None,
    ]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _spec(row: AnyRow, files: Mapping[str, Mapping[str, str]], shared: dict[str, dict[str, object]]) -> TaskSpec:
    """Return the description of a task, built from its row.

    Equal JSON texts share one object, and equal words one string: that saves 130 bytes a task.
    """
    for text in (row.metadata, row.settings):
        if text not in shared:
            shared[text] = json.loads(text)
    return TaskSpec(
        address=row.address,
        path=intern(row.path),
        task_type=row.task_type and intern(row.task_type),
        name=row.name and intern(row.name),
        job_name=intern(row.job_name),
        working_directory=intern(row.working_directory),
        metadata=shared[row.metadata],  # type: ignore[arg-type]
        settings=shared[row.settings],
        inputs=files.get("in", {}),
        outputs=files.get("out", {}),
        requires=tuple(json.loads(row.requires)),
        pending=row.pending,
    )
