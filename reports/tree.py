"""The tasks of jobs as a tree, with counts of the leaf tasks below each node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eas.model import CONTROL_TASKS
from eas.states import TaskState
from eas.taskdb.queries.packed_tree import PackedTasks, unpack
from reports.columns import Metadata, Values, loop_parameters

if TYPE_CHECKING:
    from eas.taskdb.queries.packed_tree import IntArray

STATES = tuple(TaskState)
STATE_NAMES = tuple(state.value for state in STATES)
MAX_NODES = 50_000
"""Maximum number of nodes; larger trees are cut at a smaller depth, because they would not fit into memory."""

ACTIVE_STATES = (TaskState.QUEUED, TaskState.RUNNING)
STATE_ORDER = ("waiting", "queued", "running", "stalled", "failed", "blocked", "cancelled", "done")

Table = np.ndarray[tuple[int, int], np.dtype[np.int64]]


@dataclass(slots=True)
class TreeNode:
    """A node: a job, a task, or several siblings that differ only in their loop values.

    Attributes
    ----------
    parameters, values, last_values:
        Loop values that its parent does not have; as text; those of the last of the equal siblings, as text.
    counts:
        State to number of leaf tasks (tasks that run on workers), of this node and below; of all
        siblings that the node represents.
    number:
        Number of equal siblings that it represents.
    hidden:
        How many children there are below the depth limit.
    """

    task_id: int
    label: str
    state: str
    counts: dict[str, int]
    task_type: str | None = None
    name: str | None = None
    parameters: Values = field(default_factory=dict)
    values: str = ""
    reason: str | None = None
    number: int = 1
    hidden: int = 0
    last_values: str = ""
    children: list[TreeNode] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "task_id": self.task_id or None,
            "task_type": self.task_type,
            "name": self.name,
            "label": self.title,
            "parameters": self.parameters,
            "state": self.state,
            "number": self.number,
            "counts": {state: self.counts.get(state, 0) for state in STATE_ORDER},
            "reason": self.reason,
            "hidden_children": self.hidden,
            "children": [child.to_json() for child in self.children],
        }

    @property
    def title(self) -> str:
        """Title: type or job, name, loop values; ``x 14`` where it represents several."""
        text = self.label + (f" x {self.number}" if self.number > 1 else "")
        if self.values:
            many = self.number > 1 and self.last_values != self.values
            text += f" [{self.values} ... {self.last_values}]" if many else f" [{self.values}]"
        return text


@dataclass(frozen=True)
class Links:
    """Parent links of any number of tasks: arrays of one length, in order of ``ids``.

    Attributes
    ----------
    ids:
        Task ids, ascending.
    parents:
        Place of the parent in these arrays, -1 for a root.
    states:
        Place of the state in ``TaskState``.
    controls:
        Whether it is a control task.
    depths:
        0 for a root.
    """

    ids: IntArray
    parents: IntArray
    states: IntArray
    controls: np.ndarray[Any, Any]
    depths: IntArray


def read_links(packed: Iterable[PackedTasks]) -> Links:
    """Return the structure of the tasks that ``eas.taskdb.queries.packed_tree.task_links`` read."""
    tasks = unpack(packed)
    parents = np.where(tasks.parent_ids == 0, -1, np.searchsorted(tasks.ids, tasks.parent_ids))
    return Links(tasks.ids, parents, tasks.states, tasks.controls, _depths(parents))


def fitting_depth(links: Links, depth: int) -> int:
    """Return ``depth``, or the greatest depth with at most ``MAX_NODES`` nodes."""
    below = np.cumsum(np.bincount(links.depths))
    fits = np.flatnonzero(below <= MAX_NODES)
    return depth if depth < len(below) and below[depth] <= MAX_NODES else min(depth, int(fits.max(initial=1)))


def _depths(parents: IntArray) -> IntArray:
    depths = np.zeros(len(parents), np.int64)
    above = parents.copy()
    while (alive := above >= 0).any():
        depths += alive
        above = np.where(alive, parents[above], -1)
    return depths


def count_leaves(links: Links, depth: int, only: np.ndarray[Any, Any] | None = None) -> tuple[Table, IntArray]:
    """Return counts of leaf tasks by state, for each node down to ``depth``, and their number of children.

    Both are in order of ``links``; the counts' shape is (tasks, states), zero below ``depth``.
    """
    above = np.arange(len(links.ids))
    while (deep := links.depths[above] > depth).any():
        above[deep] = links.parents[above[deep]]
    leaf = ~links.controls if only is None else ~links.controls & only
    flat = np.bincount(above[leaf] * len(STATES) + links.states[leaf], minlength=len(links.ids) * len(STATES))
    counts: Table = flat.reshape(len(links.ids), len(STATES))
    for level in range(min(depth, int(links.depths.max(initial=0))), 0, -1):
        here = np.flatnonzero(links.depths == level)
        np.add.at(counts, links.parents[here], counts[here])
    children = np.bincount(links.parents[links.parents >= 0], minlength=len(links.ids))
    return counts, children


def build(
    links: Links,
    depth: int,
    labels: Callable[[Sequence[int]], Iterable[Any]],
    *,
    only: np.ndarray[Any, Any] | None = None,
    running_only: bool = False,
) -> list[TreeNode]:
    """Return the roots, each with its descendants down to ``depth`` (a root has depth 0).

    Parameters
    ----------
    links:
        The tasks of whole jobs.
    depth:
        Deepest level shown.
    labels:
        Gives ``(id, task_type, name, state, metadata, reason)`` of tasks by their ids.
    only:
        Which tasks to count, in order of ``links``; nodes without any are left out. None: all.
    running_only:
        Leave out what has neither queued nor running tasks.
    """
    counts, children = count_leaves(links, depth, only)
    shown = links.depths <= depth
    if only is not None:
        shown &= (counts.sum(axis=1) > 0) | only
    if running_only:
        shown &= counts[:, [STATES.index(state) for state in ACTIVE_STATES]].sum(axis=1) > 0
    places = np.flatnonzero(shown)
    rows = {row.id: row for row in labels(links.ids[places].tolist())}
    plain = [places, *(each[places] for each in (links.ids, links.parents, links.depths, counts, children))]
    nodes: dict[int, TreeNode] = {}
    values: dict[int, Values] = {-1: {}}
    roots, parse = [], Metadata()
    for place, task_id, parent, level, states, below in zip(*(each.tolist() for each in plain), strict=True):
        row = rows[task_id]
        here = values[place] = loop_parameters(parse(row.metadata))
        above = values.get(parent, {})
        node = nodes[place] = _node(row, states, {key: value for key, value in here.items() if above.get(key) != value})
        if level == depth:
            node.hidden = below
        if parent < 0:
            roots.append(node)
        elif parent in nodes:
            nodes[parent].children.append(node)
    return roots


def _node(row: Any, counts: Sequence[int], values: Values) -> TreeNode:
    """Return a node; ``values`` are the loop values that its parent does not have."""
    kind = row.task_type or "?"
    label = f"{kind} {row.name!r}" if row.name else kind
    found = {state: count for state, count in zip(STATE_NAMES, counts, strict=True) if count}
    words = ", ".join(_value(*item) for item in values.items())
    return TreeNode(row.id, label, row.state, found, row.task_type, row.name, values, words, row.reason)


def _value(key: str, value: Any) -> str:
    return (
        f"{key.removesuffix('_index')}={value:.4g}"
        if isinstance(value, float)
        else f"{key.removesuffix('_index')}={value}"
    )


def collapse(nodes: Sequence[TreeNode]) -> list[TreeNode]:
    """Merge runs of equal siblings: equal except for ids and loop values."""
    found: list[TreeNode] = []
    last: Any = None
    for node in nodes:
        node.children = collapse(node.children)
        signature = _signature(node)
        if found and signature == last:
            found[-1].number += 1
            found[-1].last_values = node.values
            _add_counts(found[-1], node)
        else:
            found.append(node)
            last = signature
    return found


def _add_counts(node: TreeNode, other: TreeNode) -> None:
    """Add the counts of an equal sibling recursively, because a node represents all its equal siblings."""
    node.hidden += other.hidden
    for state, count in other.counts.items():
        node.counts[state] = node.counts.get(state, 0) + count
    for child, twin in zip(node.children, other.children, strict=True):
        _add_counts(child, twin)


def _signature(node: TreeNode) -> tuple[Any, ...]:
    children = tuple((child.number, _signature(child)) for child in node.children)
    return (node.label, node.state, tuple(sorted(node.counts.items())), node.hidden, node.reason, children)


def tree_lines(nodes: Sequence[TreeNode]) -> Iterator[str]:
    """Yield the lines of trees, in the style of the command ``tree``."""
    for node in nodes:
        yield _line(node)
        yield from _child_lines(node, "")


def _child_lines(node: TreeNode, indent: str) -> Iterator[str]:
    for child in node.children:
        last = child is node.children[-1]
        yield f"{indent}{'└── ' if last else '├── '}{_line(child)}"
        yield from _child_lines(child, indent + ("    " if last else "│   "))


def _line(node: TreeNode) -> str:
    counts = ", ".join(f"{node.counts[state]} {state}" for state in STATE_ORDER if node.counts.get(state))
    single = sum(node.counts.values()) == 1 and node.task_type not in CONTROL_TASKS
    text = f"{node.title}: {node.state if single or not counts else counts}"
    if node.reason:
        text += f" ({node.reason[:120]})"
    # Names and values are text of users and may have line breaks: a node must be one line.
    return " ".join(text.split())


def job_roots(roots: Iterable[TreeNode], jobs: Mapping[int, tuple[int, str, str]]) -> list[TreeNode]:
    """Return root tasks as jobs: root task id to ``(job id, job name, state)``."""
    found = []
    for root in roots:
        job_id, name, state = jobs[root.task_id]
        root.label = f"job {job_id} {name} ({state})"
        root.state = state
        found.append(root)
    return found
