"""The dependency graph of a running job, in memory: counts the unfinished dependencies of each task.

The cost of completing a task is proportional to the number of its dependants. This module does not access
the task database: the orchestrator loads the graph, reports events to it, and writes the resulting changes.

The graph has no lock. It belongs to the thread that calls the orchestrator at that moment; others may
read it only between two calls, as the flow does, which awaits each step before it reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from eas.model import CONTROL_TASKS, DO_WHILE, BriefSpec, TaskSpec
from eas.names import label_of
from eas.states import TaskState

IN_FLIGHT = (TaskState.QUEUED, TaskState.RUNNING)


@dataclass(slots=True)
class Node:
    """A task of the job.

    Attributes
    ----------
    spec:
        Description of the task; reduced to a ``BriefSpec`` once the task is configured and expanded.
    open_dependencies:
        Number of unfinished dependencies: makers of its inputs, and siblings whose metadata it needs.
    dependants:
        Tasks that wait for this one.
    makers:
        Tasks that it depends on; kept for the edges that Prefect draws.
    open_children, bad_children:
        Number of children that are not settled, and of those that settled without success.
    attempt_number:
        Number of its newest attempt, 0 before the first.
    withdrawn:
        Whether an operator withdrew it from the queue: it stays *waiting* until it is rescheduled.
    """

    task_id: int
    parent_id: int | None
    spec: TaskSpec | BriefSpec
    state: TaskState = TaskState.WAITING
    reason: str | None = None
    open_dependencies: int = 0
    dependants: Sequence[int] = ()
    makers: Sequence[int] = ()
    children: Sequence[int] = ()
    open_children: int = 0
    bad_children: int = 0
    attempt_number: int = 0
    withdrawn: bool = False

    @property
    def details(self) -> TaskSpec:
        """The full description; available until ``forget_details`` is called."""
        assert isinstance(self.spec, TaskSpec), f"the details of {self.label} were released"
        return self.spec

    @property
    def task_type(self) -> str | None:
        """Name in the registry, or None while it is unknown."""
        return self.spec.task_type

    @property
    def is_control(self) -> bool:
        """Whether it expands into children."""
        return self.spec.task_type in CONTROL_TASKS

    @property
    def label(self) -> str:
        """Its type, name and loop values, for messages: ``transit_search_tls "deep" [size=0.089]``."""
        return label_of(self.task_type, self.spec.name, self.spec.metadata)

    def forget_details(self) -> None:
        """Replace ``spec`` by its brief form; the task database keeps the rest.

        A job of 10^6 tasks keeps 10^6 nodes: the address and the path alone would add a fifth to their size.
        """
        if isinstance(self.spec, TaskSpec):
            self.spec = self.spec.brief()


class DependencyGraph:
    """All tasks of a job and what they wait for.

    Attributes
    ----------
    ready:
        Tasks without unfinished dependencies, in the order in which they became ready.
    unresolved_inputs:
        Product id to the tasks that read it, where no task of this job makes it (so far).
    counts:
        Number of tasks by type and state: the only place where tasks are counted.
    unexpanded:
        Number of waiting tasks that may still make products that are unknown so far: control
        tasks before their expansion, and tasks that wait for requested metadata.
    settled:
        Tasks that settled since the last ``take_settled``.
    withdrawn:
        Waiting tasks that an operator withdrew from the queue.
    """

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.maker_of: dict[int, int] = {}
        self.unresolved_inputs: dict[int, list[int]] = {}
        self.ready: deque[int] = deque()
        self.settled: deque[int] = deque()
        self.counts: dict[tuple[str, TaskState], int] = {}
        self.unexpanded = 0
        self.withdrawn: set[int] = set()
        self._named: dict[tuple[int | None, str], list[int]] = {}

    def clear(self) -> None:
        """Remove everything, in place: holders of ``nodes`` or ``counts`` keep valid references."""
        for part in (
            self.nodes,
            self.maker_of,
            self.unresolved_inputs,
            self.ready,
            self.settled,
            self.counts,
            self.withdrawn,
        ):
            part.clear()
        self._named.clear()
        self.unexpanded = 0

    def add(self, node: Node) -> None:
        """Add a task; add its outputs, inputs and sibling dependencies after all new tasks."""
        self.nodes[node.task_id] = node
        if node.withdrawn:
            self.withdrawn.add(node.task_id)
        self._count(node, 1)
        if node.spec.name is not None:
            self._named.setdefault((node.parent_id, node.spec.name), []).append(node.task_id)
        if node.parent_id is not None:
            parent = self.nodes[node.parent_id]
            parent.children = _appended(parent.children, node.task_id)
            if not node.state.final:
                parent.open_children += 1
            elif node.state is not TaskState.DONE:
                parent.bad_children += 1
        if self._may_expand(node):
            self.unexpanded += 1

    def add_output(self, task_id: int, product_id: int) -> int | None:
        """Record that a task makes a product; return another task that makes the same one, if there is one.

        Each iteration of a do-while loop may make the products of the previous one again, as new versions.
        """
        other = self.maker_of.setdefault(product_id, task_id)
        if other != task_id:
            if not self._of_earlier_iteration(other, task_id):
                return other
            self.maker_of[product_id] = task_id
        for reader in self.unresolved_inputs.pop(product_id, ()):
            # The reader's count includes this product already.
            self._depend(self.nodes[reader], self.nodes[task_id], counted=True)
        return None

    def add_input(self, task_id: int, product_id: int) -> None:
        """Record that a task reads a product; its maker may be added before or after this call."""
        node = self.nodes[task_id]
        maker = self.maker_of.get(product_id)
        if maker is not None:
            self._depend(node, self.nodes[maker])
        else:
            node.open_dependencies += 1
            self.unresolved_inputs.setdefault(product_id, []).append(task_id)

    def add_sibling_dependencies(self, task_id: int, names: Iterable[str]) -> str | None:
        """Record which earlier siblings a task depends on; return the first name that no sibling has, if any."""
        node = self.nodes[task_id]
        for name in names:
            sibling = self.sibling(node, name)
            if sibling is None:
                return name
            self._depend(node, sibling)
        return None

    def sibling(self, node: Node, name: str) -> Node | None:
        """Return the last earlier sibling called ``name``."""
        for other in map(self.nodes.__getitem__, reversed(self._named.get((node.parent_id, name), ()))):
            if other.spec.ordinal < node.spec.ordinal:
                return other
        return None

    def child(self, node: Node, name: str) -> Node | None:
        """Return the last child called ``name``."""
        found = self._named.get((node.task_id, name))
        return self.nodes[found[-1]] if found else None

    def mark_ready(self, task_id: int) -> None:
        """Mark a task as ready if it has no unfinished dependency and is not withdrawn."""
        node = self.nodes[task_id]
        if node.state is TaskState.WAITING and node.open_dependencies == 0 and not node.withdrawn:
            self.ready.append(task_id)

    def input_available(self, product_id: int) -> None:
        """Mark a product as available from outside this job."""
        for reader in self.unresolved_inputs.pop(product_id, ()):
            self._count_down(self.nodes[reader])

    def input_unavailable(self, product_id: int, reason: str) -> None:
        """Mark a product as one that can no longer be made; its readers become blocked."""
        for reader in self.unresolved_inputs.pop(product_id, ()):
            if not self.nodes[reader].state.final:
                self.settle(reader, TaskState.BLOCKED, reason)

    def configured(self, task_id: int, spec: TaskSpec) -> None:
        """Replace the description of a pending task by the fully configured one."""
        node = self.nodes[task_id]
        self._count(node, -1)
        self.unexpanded -= self._may_expand(node)
        node.spec = spec
        self.unexpanded += self._may_expand(node)
        self._count(node, 1)

    def set_state(self, task_id: int, state: TaskState) -> None:
        """Move a task to a state that is not final."""
        node = self.nodes[task_id]
        if self._may_expand(node):
            self.unexpanded -= 1
        self._count(node, -1)
        node.state = state
        self._count(node, 1)
        self.withdrawn.discard(task_id)

    def settle(self, task_id: int, state: TaskState, reason: str | None = None) -> None:
        """Move a task to a final state, and update its dependants and its parent."""
        todo: deque[tuple[int, TaskState, str | None]] = deque([(task_id, state, reason)])
        while todo:
            current, outcome, why = todo.popleft()
            node = self.nodes[current]
            if node.state.final:
                continue
            self.set_state(current, outcome)
            node.reason = why
            self.settled.append(current)
            if outcome is TaskState.DONE:
                for dependant in node.dependants:
                    self._count_down(self.nodes[dependant])
            else:
                because = blocked_by(node)
                todo.extend((dependant, TaskState.BLOCKED, because) for dependant in node.dependants)
            if node.parent_id is not None:
                parent = self.nodes[node.parent_id]
                parent.open_children -= 1
                parent.bad_children += outcome is not TaskState.DONE

    def take_settled(self, decide: Callable[[Node], bool]) -> list[int]:
        """Return the tasks settled since the last call; settle parents whose last child has settled.

        ``decide`` returns whether a control task without open children has ended: a do-while loop may start
        another iteration.
        """
        taken = []
        while self.settled:
            node = self.nodes[self.settled.popleft()]
            taken.append(node.task_id)
            if node.parent_id is None:
                continue
            parent = self.nodes[node.parent_id]
            if not parent.open_children and parent.state is TaskState.RUNNING and decide(parent):
                self.settle(parent.task_id, self.outcome_of(parent))
        return taken

    def outcome_of(self, control: Node) -> TaskState:
        """Return the final state of a control task, derived from the states of its children."""
        if not control.bad_children:
            return TaskState.DONE
        states = {self.nodes[child].state for child in control.children}
        if states & {TaskState.FAILED, TaskState.STALLED}:
            return TaskState.FAILED
        return TaskState.BLOCKED if TaskState.BLOCKED in states else TaskState.CANCELLED

    def waiting(self) -> Iterator[Node]:
        """Yield the tasks that wait for something."""
        return (node for node in self.nodes.values() if node.state is TaskState.WAITING)

    def find_cycle(self) -> list[Node]:
        """Return the members of a cycle among the waiting tasks, or an empty list.

        A child counts as waiting for its parent's expansion, and nothing else for its children.
        """
        for start in self.waiting():
            trail: dict[int, int] = {}
            node = start
            while node.task_id not in trail:
                trail[node.task_id] = len(trail)
                blocking = [self.nodes[maker] for maker in node.makers if not self.nodes[maker].state.final]
                if not blocking:
                    break
                node = blocking[0]
            else:
                members = list(trail)[trail[node.task_id] :]
                return [self.nodes[member] for member in members]
        return []

    @property
    def leaves(self) -> int:
        """Number of leaf tasks, as far as the job has expanded."""
        return sum(count for (task_type, _), count in self.counts.items() if task_type not in CONTROL_TASKS)

    def expected_leaves(self) -> int:
        """Estimate the total number of leaf tasks, assuming that an unexpanded task has as many as its siblings."""
        shares: dict[int, float] = {}

        def share(node: Node) -> float:
            if node.parent_id is None:
                return 1.0
            if node.parent_id not in shares:
                parent = self.nodes[node.parent_id]
                shares[node.parent_id] = share(parent) / len(parent.children)
            return shares[node.parent_id]

        known = 1.0 - sum(share(node) for node in map(self.nodes.__getitem__, self.ready) if self._may_expand(node))
        return round(self.leaves / known) if known > 1e-6 else self.leaves

    @property
    def in_flight(self) -> int:
        """Number of leaf tasks that are queued or running."""
        return sum(
            count
            for (task_type, state), count in self.counts.items()
            if state in IN_FLIGHT and task_type not in CONTROL_TASKS
        )

    def _of_earlier_iteration(self, earlier: int, later: int) -> bool:
        """Return whether two tasks belong to different iterations of one do-while loop."""
        above = set(self._ancestors(earlier))
        common = next((task for task in self._ancestors(later) if task in above), None)
        return common is not None and self.nodes[common].task_type == DO_WHILE

    def _ancestors(self, task_id: int) -> Iterator[int]:
        parent = self.nodes[task_id].parent_id
        while parent is not None:
            yield parent
            parent = self.nodes[parent].parent_id

    def _depend(self, node: Node, on: Node, *, counted: bool = False) -> None:
        node.makers = _appended(node.makers, on.task_id)
        if on.state is TaskState.DONE:
            if counted:
                self._count_down(node)
        elif on.state.final:
            if not node.state.final:
                self.settle(node.task_id, TaskState.BLOCKED, blocked_by(on))
        else:
            on.dependants = _appended(on.dependants, node.task_id)
            node.open_dependencies += not counted

    def _count_down(self, node: Node) -> None:
        node.open_dependencies -= 1
        if node.open_dependencies == 0 and node.state is TaskState.WAITING and not node.withdrawn:
            self.ready.append(node.task_id)

    def _may_expand(self, node: Node) -> bool:
        return node.state is TaskState.WAITING and (node.is_control or node.spec.pending)

    def _count(self, node: Node, step: int) -> None:
        key = (node.task_type or "?", node.state)
        self.counts[key] = self.counts.get(key, 0) + step


def _appended(task_ids: Sequence[int], task_id: int) -> Sequence[int]:
    """Return ``task_ids`` with ``task_id`` appended, in place if it is a list.

    Most tasks have none or one: all share the empty tuple, and a tuple of one takes half the memory of a list.
    """
    if isinstance(task_ids, list):
        task_ids.append(task_id)
        return task_ids
    return [*task_ids, task_id] if task_ids else (task_id,)


def blocked_by(node: Node) -> str:
    """Return the reason of a task that waits for ``node``, which did not succeed."""
    if node.state is TaskState.BLOCKED and node.reason:
        return node.reason
    return f"blocked by {node.label} (task {node.task_id}), which {_ENDED.get(node.state, f'is {node.state}')}"


_ENDED = {
    TaskState.FAILED: "failed",
    TaskState.STALLED: "stalled too often",
    TaskState.BLOCKED: "is blocked itself",
    TaskState.CANCELLED: "was cancelled",
}
