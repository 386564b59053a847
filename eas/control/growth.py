"""How a job grows: control tasks expand into children, in SQL first and then in the graph.

All children of one control task are inserted in the transaction that marks it as expanded, so a
killed orchestrator leaves it either untouched or complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection

from eas.chains.expansion import Expander
from eas.control.graph import Graph, Node
from eas.errors import RequestError
from eas.model import CONDITIONAL, DO_WHILE, TaskSpec
from eas.states import TaskState
from eas.taskdb import attempts, jobs, products, tasks
from eas.taskdb.engine import AnyRow, TaskDatabase

CHUNK = 5_000
"""Tasks inserted in one transaction; a loop with more values goes in whole."""

Pair: TypeAlias = tuple[Node, TaskSpec]
T = TypeVar("T")


class Growth:
    """Adds tasks to one job: to SQL, and to the graph of its orchestrator."""

    def __init__(
        self, database: TaskDatabase, graph: Graph, expander: Expander, job: AnyRow, *, driver: str, max_stalls: int
    ) -> None:
        self.database = database
        self.graph = graph
        self.expander = expander
        self.job = job
        self.driver = driver
        self.max_stalls = max_stalls
        self.root_id = 0
        # What is needed again: of control tasks until they are settled, of pending ones until configured.
        self._specs: dict[int, TaskSpec] = {}

    def load(self) -> None:
        """Rebuild the graph from SQL."""
        job = self.job.id
        rows, links, numbers = self.database.fetch(
            lambda c: (tasks.of_job(c, job), tasks.product_links(c, job), tasks.last_numbers(c, job))
        )
        files: dict[int, dict[str, dict[str, str]]] = {}
        for link in links:
            files.setdefault(link.task_id, {"in": {}, "out": {}})[link.direction][link.semantic] = link.name
        shared: dict[str, dict[str, object]] = {}
        for row in rows:
            spec = _spec(row, files.get(row.id, {}), shared)
            node = _node(row.id, row.parent_id, spec, TaskState(row.state), row.reason)
            node.number = numbers.get(row.id, 0)
            node.held = row.held_at is not None and node.state is TaskState.WAITING
            self._add(node, spec)
        self.root_id = rows[0].id
        directories = {row.id: row.working_directory for row in rows}
        for link in sorted(links, key=lambda link: (_rank(self.graph.nodes[link.task_id]), link.task_id)):
            if link.direction == "out":
                self._make(link.task_id, link.product_id, (directories[link.task_id], link.name))
        for link in links:
            if link.direction == "in":
                self.graph.read(link.task_id, link.product_id)
        for row in rows:
            if row.requires != "[]":
                self._require(self.graph.nodes[row.id], json.loads(row.requires))
        for row in rows:
            self.graph.enlist(row.id)

    def expand(self, controls: Sequence[Node]) -> list[Node]:
        """Expand control tasks; those that cannot be are settled as failed. Return the others."""
        grown: list[Node] = []
        batch: list[tuple[Node, list[TaskSpec]]] = []
        size = 0
        for control in controls:
            children = self._attempt(control, self._first_children)
            if children is None:
                continue
            batch.append((control, children))
            size += len(children) + 1
            if size >= CHUNK:
                grown += self._insert(batch)
                batch, size = [], 0
        return grown + self._insert(batch)

    def configure(self, pending: Sequence[Node]) -> None:
        """Evaluate what waited for requested metadata, which are here now."""
        for node in pending:
            spec = self._attempt(node, self._reconfigured)
            if spec is None:
                continue
            ids = self._write_configured(node.task_id, spec)
            self._specs.pop(node.task_id, None)
            self.graph.configured(node.task_id, spec.task_type, spec.name)
            if node.is_control:
                self._specs[node.task_id] = spec
            self._connect([(node, spec)], ids, requires=False)

    def repeats(self, loop: Node) -> bool:
        """After an iteration of a do-while loop: add the next one and return True, or return False.

        Where the criterion cannot be evaluated, the loop is settled as failed.
        """
        spec = self._specs[loop.task_id]
        iteration = len(loop.children)
        body = self.graph.nodes[loop.children[-1]]
        names = self.expander.repeat_names(spec)

        def criterion(_: Node) -> bool:
            requested = self._requested(body, names, children=True)
            return self.expander.repeat(spec, iteration, requested)

        if not self._attempt(loop, criterion):
            return False
        children = self._attempt(loop, lambda _: list(self.expander.children(spec, iteration=iteration + 1)))
        return bool(children and self._insert([(loop, children)]))

    def _first_children(self, control: Node) -> list[TaskSpec]:
        spec = self._specs[control.task_id]
        if spec.task_type == CONDITIONAL:
            return list(self.expander.children(spec, branch=self.expander.criterion(spec)))
        return list(self.expander.children(spec, iteration=1 if spec.task_type == DO_WHILE else None))

    def _reconfigured(self, node: Node) -> TaskSpec:
        return self.expander.reconfigure(self._specs[node.task_id], self._requested(node, node.requires))

    def _write_configured(self, task_id: int, spec: TaskSpec) -> dict[products.Product, int]:
        described = fingerprint(spec, self.job.seed)

        def work(connection: Connection) -> dict[products.Product, int]:
            jobs.require_driver(connection, self.job.id, self.driver, self.job.revision)
            return tasks.configure(connection, task_id, spec, described)

        return self.database.transact(work)

    def _requested(
        self, node: Node, names: Sequence[str], *, children: bool = False
    ) -> dict[str, Mapping[str, object]]:
        """Return the output metadata of the siblings (or children) that a task asks for."""
        if not names:
            return {}
        found: dict[str, int] = {}
        for name in names:
            other = self.graph.child(node, name) if children else self.graph.sibling(node, name)
            if other is None:
                raise RequestError(f"no task called {name!r} in {node.label}", cure="name one of its tasks")
            found[name] = other.task_id
        outputs = self.database.fetch(lambda c: attempts.outputs_of(c, found.values()))
        return {name: outputs.get(task_id, {}) for name, task_id in found.items()}

    def _attempt(self, node: Node, work: Callable[[Node], T]) -> T | None:
        """Return what ``work`` returns for a task, or settle the task as failed and return None."""
        try:
            return work(node)
        except RequestError as error:  # a database that is away is no fault of the task's
            self.graph.settle(node.task_id, TaskState.FAILED, str(error))
            return None

    def _insert(self, batch: Sequence[tuple[Node, Sequence[TaskSpec]]]) -> list[Node]:
        """Insert the children of control tasks, and mark these as expanded, in one transaction."""
        if not batch:
            return []
        flat = [(control.task_id, spec) for control, children in batch for spec in children]
        now, alive = attempts.now(), self.database.now()

        def work(connection: Connection) -> tuple[int, dict[products.Product, int]]:
            jobs.require_driver(connection, self.job.id, self.driver, self.job.revision)
            # A large job expands for longer than a lease lasts.
            jobs.keep_lease(connection, self.job.id, self.driver, alive)
            first = tasks.reserve(connection, len(flat)) if flat else 0
            new = {
                first + offset: tasks.NewTask(parent, spec, fingerprint(spec, self.job.seed))
                for offset, (parent, spec) in enumerate(flat)
            }
            attempts.set_task_states(connection, (control.task_id for control, _ in batch), TaskState.RUNNING)
            ids = tasks.add(connection, self.job.id, new, retries=self.job.retries, max_stalls=self.max_stalls, now=now)
            return first, ids

        first, ids = self.database.transact(work)
        pairs: list[Pair] = []
        for offset, (parent, spec) in enumerate(flat):
            node = _node(first + offset, parent, spec, TaskState.WAITING, None)
            self._add(node, spec)
            pairs.append((node, spec))
        for control, _ in batch:
            if control.state is TaskState.WAITING:
                self.graph.move(control.task_id, TaskState.RUNNING)
            if control.task_type != DO_WHILE:
                self._specs.pop(control.task_id, None)
        self._connect(pairs, ids)
        return [control for control, _ in batch]

    def _add(self, node: Node, spec: TaskSpec) -> None:
        self.graph.add(node)
        keeps = node.state is TaskState.WAITING or (node.task_type == DO_WHILE and not node.state.final)
        if keeps and (node.is_control or node.pending):
            self._specs[node.task_id] = spec

    def _connect(self, pairs: Sequence[Pair], ids: Mapping[products.Product, int], *, requires: bool = True) -> None:
        """Wire new tasks to makers, readers and siblings; makers first, so that order means nothing."""
        for node, product, _ in _files(pairs, "outputs"):
            self._make(node.task_id, ids[product], product)
        for node, product, _ in _files(pairs, "inputs"):
            self.graph.read(node.task_id, ids[product])
        for node, spec in pairs:
            if requires:
                self._require(node, spec.requires)
            self.graph.enlist(node.task_id)

    def _make(self, task_id: int, product_id: int, product: products.Product) -> None:
        """Note who makes a product; a second maker has failed."""
        other = self.graph.make(task_id, product_id)
        if other is not None and self.graph.nodes[task_id].state is TaskState.WAITING:
            maker = self.graph.nodes[other]
            reason = f"two tasks make {product[1]!r} in {product[0]!r}: this one and {maker.label} (task {other})"
            self.graph.settle(task_id, TaskState.FAILED, reason)

    def _require(self, node: Node, names: Sequence[str]) -> None:
        """Note which siblings a task needs; one that names a sibling that is not there has failed."""
        unknown = self.graph.require(node.task_id, names)
        if unknown is not None and not node.state.final:
            reason = f"requires_metadata_from names {unknown!r}, but no earlier sibling is called that"
            self.graph.settle(node.task_id, TaskState.FAILED, reason)


def _rank(node: Node) -> int:
    """Return who comes first where several tasks make one product: who did or does, then who may."""
    if node.state in (TaskState.DONE, TaskState.QUEUED, TaskState.RUNNING):
        return 0
    return 1 if node.state is TaskState.WAITING else 2


def _files(pairs: Iterable[Pair], side: str) -> Iterator[tuple[Node, products.Product, str]]:
    for node, spec in pairs:
        if not spec.pending:
            for semantic, name in getattr(spec, side).items():
                yield node, (spec.working_directory, name), semantic


def fingerprint(spec: TaskSpec, seed: str) -> str | None:
    """Return the SHA-256 of what describes the making of a task's products; None if it makes none."""
    if spec.pending or not spec.outputs or spec.task_type is None or spec.is_control:
        return None
    described = [
        spec.task_type,
        spec.working_directory,
        dict(spec.settings),
        dict(spec.inputs),
        dict(spec.outputs),
        seed,
    ]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _node(task_id: int, parent_id: int | None, spec: TaskSpec, state: TaskState, reason: str | None) -> Node:
    return Node(
        task_id=task_id,
        parent_id=parent_id,
        ordinal=spec.ordinal,
        address=spec.address,
        path=spec.path,
        task_type=spec.task_type,
        name=spec.name,
        metadata=spec.metadata,
        pending=spec.pending,
        requires=spec.requires,
        state=state,
        reason=reason,
    )


def _spec(row: AnyRow, files: Mapping[str, Mapping[str, str]], shared: dict[str, dict[str, object]]) -> TaskSpec:
    """Return the description of a task that SQL holds; equal JSON texts share one object."""
    for text in (row.metadata, row.settings):
        if text not in shared:
            shared[text] = json.loads(text)
    return TaskSpec(
        address=row.address,
        path=row.path,
        task_type=row.task_type,
        name=row.name,
        job_name=row.job_name,
        working_directory=row.working_directory,
        metadata=shared[row.metadata],  # type: ignore[arg-type]
        settings=shared[row.settings],
        inputs=files.get("in", {}),
        outputs=files.get("out", {}),
        requires=tuple(json.loads(row.requires)),
        pending=row.pending,
    )
