"""Walks through the expansion of a chain to make its plan.

Tasks are not kept as objects, only as numbers in arrays (dependency graph, products), so that 10^5 tasks take
some tens of megabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from eas.chains import unexpanded_checks
from eas.chains.declaration_checks import setting_warnings, unknown_names
from eas.chains.expansion import Expander
from eas.chains.grammar import Chain
from eas.chains.parser import FILES
from eas.chains.plan_graph import PlanGraph
from eas.chains.problems import MAX_PROBLEMS
from eas.chains.products import Maker, Products
from eas.chains.ranges import RANGES, quoted_numbers, read_numbers
from eas.chains.syntax import is_expression
from eas.chains.task_counts import PRODUCTS, UNDETERMINED, Counts
from eas.chains.tree import CONTROL_KEYS, Constant, Descriptor
from eas.errors import ChainError, Problem
from eas.model import CHAIN, CONDITIONAL, CONTROL_TASKS, DO_WHILE, FOR_LOOP, TaskSpec
from eas.registry import Registry

MAX_TASKS = 3_000_000
"""Maximum number of tasks of a chain, including control tasks. Each iteration of a loop is a chain, so 10^6 leaf
tasks in four nested loops are 2.1 million tasks."""
MAX_ITERATIONS = 10_000
"""Maximum number of iterations of a do-while loop that does not depend on data."""
_BY_INDEX = "give each its own name, with a loop's index in it: 'lc_{size_index}.gz'.format(**metadata)"


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Tasks of one descriptor that wait for tasks of the same groups.

    Attributes
    ----------
    path, task_type:
        JSON path of the descriptor, and the type; empty for what takes no worker: the end of a control task, say.
    certain:
        Whether they run whatever the data are.
    count:
        Number of tasks.
    waits_for:
        Numbers of the groups that they wait for, in the list of all groups.
    """

    path: str
    task_type: str
    certain: bool
    count: int
    waits_for: tuple[int, ...]


class _StopError(Exception):
    """Too many problems or too many tasks: stop the walk."""


@dataclass(slots=True)
class _Position:
    """Position of the walk.

    ``entry_node``: node that everything here waits for; ``exit_node``: node that waits for everything here (-1: none).
    """

    counts: Counts
    entry_node: int = -1
    exit_node: int = -1
    context: int = 0
    depth: int = 1


class Planner:
    """Walks through a chain's expansion, depth first."""

    def __init__(self, chain: Chain, registry: Registry, seed: str, max_tasks: int) -> None:
        self.problems: list[Problem] = []
        self.warnings: dict[str, Problem] = {}
        self.depth = 0
        self.longest_path = 0
        self.dynamic = False
        self.open_products: dict[str, None] = {}
        self._graph = PlanGraph()
        self._types: list[str] = []
        self._gates: dict[str, int] = {}
        self.products = Products(self._graph)
        self._expander = Expander(chain, registry, seed)
        self._registry = registry
        self._open_types = registry.dynamic_output_types()
        self._tasks_left = self._max_tasks = max_tasks
        self._reported: set[tuple[str, str]] = set()

    def run(self, job_name: str, working_directory: str) -> Counts:
        """Walk through the whole chain; return the task counts. Errors are in ``problems`` afterwards."""
        counts = Counts()
        try:
            self._task(self._expander.root(job_name, working_directory), _Position(counts), needs_exit_node=False)
            self.products.add_edges()
            self.longest_path, stuck = self._graph.longest_path()
            if stuck:
                self._report_cycles(stuck)
        except _StopError:
            pass
        return counts

    def made(self) -> dict[str, dict[str, Maker]]:
        """Return the makers of all products by working directory and file name."""
        makers: dict[Maker, Maker] = {}

        def describe(node: int) -> Maker:
            maker = Maker(self._graph.labels[node], self._types[node])
            return makers.setdefault(maker, maker)

        return self.products.made(describe)

    def tasks_by_path(self) -> Counter[str]:
        """Return how many tasks that workers run there are of each descriptor."""
        return Counter(path for path, name in zip(self._graph.labels, self._types, strict=True) if name)

    def groups(self) -> list[TaskGroup]:
        """Return the tasks that workers run, and what joins them, in groups; each waits for earlier ones only."""
        kinds = [
            (path, task_type, self.products.certain_node(node))
            for node, (path, task_type) in enumerate(zip(self._graph.labels, self._types, strict=True))
        ]
        found = self._graph.groups(kinds)
        return [TaskGroup(*kind, count, before) for (kind, before), count in found.items()]

    def _task(self, spec: TaskSpec, place: _Position, *, needs_exit_node: bool) -> int:
        """Walk through a task.

        Returns the node that waits for the task and its descendants; -1 for a control task unless ``needs_exit_node``.
        """
        self._tasks_left -= 1
        if self._tasks_left < 0:
            self._problem("", "many", f"makes more than {self._max_tasks} tasks", "split it into several chains")
            raise _StopError
        self.depth = max(self.depth, place.depth)
        place.counts.add(spec.task_type or UNDETERMINED)
        if spec.pending:
            self.dynamic = True
        if spec.task_type in CONTROL_TASKS:
            return self._control(spec, place, needs_exit_node=needs_exit_node)
        if spec.task_type is None and self._expander.descriptor(spec).children():
            self._unknown_children(spec, place)
        if spec.pending or spec.task_type in self._open_types:
            self._record_open_products(spec)
        if not self._expander.descriptor(spec).fixed_names:
            self._check_evaluated(spec)
        node = self._node(spec.path, spec.task_type or UNDETERMINED, place, weight=1)
        self._inputs(spec, node)
        self._outputs(spec, node, place)
        return node

    def _check_evaluated(self, spec: TaskSpec) -> None:
        """Compare evaluated names with those of the task's type; the parser compares the others."""
        if spec.task_type is None or spec.pending:
            return
        task_type = self._registry.task_types[spec.task_type]
        for what in FILES:
            for each in unknown_names(task_type, getattr(spec, what), what, spec.path):
                self._problem(each.path, each.message, each.message, each.hint)
        declared = task_type.declared_settings()
        if declared is None or isinstance(self._expander.descriptor(spec).task, Constant):
            return
        for each in setting_warnings(declared, spec.settings, spec.path):
            if len(self.warnings) < MAX_PROBLEMS:
                self.warnings.setdefault(each.path, each)

    def _record_open_products(self, spec: TaskSpec) -> None:
        names = (spec.working_directory, *spec.outputs.values(), *spec.outputs)
        if spec.task_type in self._open_types or spec.task_type is None or any(map(is_expression, names)):
            self.open_products[spec.path] = None

    def _node(self, path: str, task_type: str, place: _Position, *, weight: int) -> int:
        node = self._graph.add_node(path, weight)
        self._types.append(task_type)
        if place.context:
            self.products.set_context(node, place.context)
        if place.entry_node >= 0:
            self._graph.add_edge(place.entry_node, node)
        if place.exit_node >= 0:
            self._graph.add_edge(node, place.exit_node)
        return node

    def _inputs(self, spec: TaskSpec, node: int) -> None:
        for semantic, file_name in spec.inputs.items():
            if not _unnamed(spec, file_name):
                self.products.add_reader(node, spec.working_directory, file_name, semantic)

    def _outputs(self, spec: TaskSpec, node: int, place: _Position) -> None:
        directory = spec.working_directory
        for semantic, file_name in spec.outputs.items():
            if _unnamed(spec, file_name):
                self.open_products[spec.path] = None
                place.counts.add(PRODUCTS)
                continue
            further, other_maker = self.products.add_maker(node, directory, file_name)
            if further:
                place.counts.add(PRODUCTS)
            if other_maker >= 0:
                self._report_twice(
                    f"{spec.path}.outputs.{semantic}", f"{directory}/{file_name}", other_maker, spec.path
                )

    def _report_twice(self, path: str, product: str, maker: int, own: str) -> None:
        other = self._graph.labels[maker]
        by = "more than once by this task, in a loop" if other == own else f"by {other} too"
        self._problem(path, "twice", f"the product {product} is made {by}", _BY_INDEX)

    def _control(self, spec: TaskSpec, place: _Position, *, needs_exit_node: bool) -> int:
        inside = _Position(place.counts, place.entry_node, place.exit_node, place.context, place.depth + 1)
        exit_node = -1
        if needs_exit_node:
            exit_node = self._node(spec.path, "", place, weight=0)
            inside = replace(inside, exit_node=exit_node)
        if spec.inputs or spec.requires:
            entry_node = self._node(spec.path, "", inside, weight=0)
            self._inputs(spec, entry_node)
            inside = replace(inside, entry_node=entry_node)
        if spec.outputs:
            message = f"{spec.task_type} is a control task and makes no files"
            self._problem(f"{spec.path}.outputs", "outputs", message, "give the outputs to the tasks in its task_list")
        if spec.requires:
            self._gates[spec.address] = inside.entry_node
        try:
            self._children(spec, inside)
        except ChainError as error:
            self._report(error)
        return exit_node

    def _children(self, spec: TaskSpec, place: _Position) -> None:
        if spec.task_type == CHAIN:
            self._siblings(self._expander.children(spec, on_error=self._report), place)
        elif spec.pending and _unknown_loop(spec):
            self._unknown_children(spec, place)
        elif spec.task_type == FOR_LOOP:
            self._warn_of_quoted_numbers(spec)
            for child in self._expander.children(spec):
                self._task(child, place, needs_exit_node=False)
        elif spec.task_type == CONDITIONAL:
            self._conditional(spec, place)
        elif self._expander.reads_metadata(spec):
            self._data_dependent_loop(spec, place)
        else:
            self._do_while(spec, place)

    def _siblings(self, specs: Iterable[TaskSpec], place: _Position) -> None:
        tasks = list(specs)
        needs_exit_node = {name for task in tasks for name in task.requires}
        if not needs_exit_node:
            for task in tasks:
                self._task(task, place, needs_exit_node=False)
            return
        nodes: dict[str, int] = {}
        for task in tasks:
            before = [nodes[name] for name in task.requires if name in nodes]
            node = self._task(task, place, needs_exit_node=task.name in needs_exit_node)
            waiting = self._gates.pop(task.address, node)
            for each in before:
                self._graph.add_edge(each, waiting)
            if task.name in needs_exit_node and task.name is not None:
                nodes[task.name] = node

    def _warn_of_quoted_numbers(self, spec: TaskSpec) -> None:
        for name in RANGES:
            given = spec.settings.get(name)
            if isinstance(given, list) and (quoted := read_numbers(given)[1]):
                message, hint = quoted_numbers(quoted)
                self.warnings.setdefault(f"{spec.path}.{name}", Problem(f"{spec.path}.{name}", message, hint))

    def _conditional(self, spec: TaskSpec, place: _Position) -> None:
        if not is_expression(spec.settings["criterion"]):
            branch = self._expander.criterion(spec)
            self._siblings(self._expander.children(spec, branch=branch, on_error=self._report), place)
            return
        self.dynamic = True
        both = []
        for branch in (True, False):
            counts = Counts()
            context = self.products.context(place.context, spec.address, int(branch), branch=True)
            inside = replace(place, counts=counts, context=context)
            self._siblings(self._expander.children(spec, branch=branch, on_error=self._report), inside)
            both.append(counts)
        place.counts.add_either(*both)

    def _data_dependent_loop(self, spec: TaskSpec, place: _Position) -> None:
        """Walk through the first iteration of a loop whose end depends on data: only that one is certain."""
        self.dynamic = True
        self._check_child_names(spec)
        counts = Counts()
        context = self.products.context(place.context, spec.address, 1, branch=False)
        for child in self._expander.children(spec, iteration=1):
            self._task(child, replace(place, counts=counts, context=context), needs_exit_node=False)
        if counts.bounds(PRODUCTS)[1] != 0:
            self.open_products[spec.path] = None
        place.counts.add_at_least_once(counts)

    def _do_while(self, spec: TaskSpec, place: _Position) -> None:
        """Walk through all iterations of a loop whose end is known; each waits for the one before."""
        self._check_child_names(spec)
        entry_node = place.entry_node
        for iteration in range(1, MAX_ITERATIONS + 1):
            context = self.products.context(place.context, spec.address, iteration, branch=False)
            inside = replace(place, entry_node=entry_node, context=context)
            exit_node = self._node(spec.path, "", inside, weight=0)
            for child in self._expander.children(spec, iteration=iteration):
                self._task(child, replace(inside, exit_node=exit_node), needs_exit_node=False)
            if not self._expander.repeat(spec, iteration, None):
                return
            entry_node = exit_node
        message = f"still repeats after {MAX_ITERATIONS} iterations"
        self._problem(f"{spec.path}.repeat_criterion", "endless", message, "let it become false")

    def _check_child_names(self, spec: TaskSpec) -> None:
        """Check the names in the loop's criterion against the first iteration, as names may be expressions."""
        for chain in self._expander.children(spec, iteration=1):
            self._expander.check_child_names(spec, chain)

    def _unknown_children(self, spec: TaskSpec, place: _Position) -> None:
        self.dynamic = True
        self.open_products[spec.path] = None
        for problem in unexpanded_checks.faults(self._expander.descriptor(spec), spec.metadata):
            self._problem(problem.path, problem.message, problem.message, problem.hint)
        place.counts.add_unknown([CHAIN, *_types_below(self._expander.descriptor(spec))])

    def _report(self, error: ChainError) -> None:
        for problem in error.problems:
            self._problem(problem.path, problem.message if not problem.path else "", problem.message, problem.hint)

    def _report_cycles(self, stuck: list[int]) -> None:
        for cycle in self._graph.cycles(stuck, 10 * MAX_PROBLEMS):
            members = list(dict.fromkeys(self._graph.labels[node] for node in cycle))
            if len(members) == 1:
                message = "depends on itself: it reads a file that it or one of its children makes"
            else:
                message = f"dependency cycle: {' -> '.join([*members, members[0]])}"
            hint = "change an input, or remove a name from requires_metadata_from, of one of them"
            self._problem(min(members), "cycle", message, hint)

    def _problem(self, path: str, kind: str, message: str, hint: str) -> None:
        """Report each kind of problem once per descriptor, not for each of 10^5 iterations of a loop."""
        if (path, kind) in self._reported:
            return
        self._reported.add((path, kind))
        self.problems.append(Problem(path, message, hint))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _StopError


def _unnamed(spec: TaskSpec, file_name: str) -> bool:
    """Return whether the name of a product waits for metadata; a directory may wait higher up."""
    return is_expression(spec.working_directory) or (spec.pending and is_expression(file_name))


def _unknown_loop(spec: TaskSpec) -> bool:
    """Return whether how a loop runs waits for metadata."""
    keys = (*RANGES, CONTROL_KEYS[spec.task_type or ""].name)
    return any(_holds_expression(spec.settings[key]) for key in keys if key in spec.settings)


def _holds_expression(value: Any) -> bool:
    return is_expression(value) or (isinstance(value, list) and any(map(is_expression, value)))


def _types_below(descriptor: Descriptor) -> list[str]:
    """Return the task types below a descriptor, as far as they are literal."""
    found: dict[str, None] = {}
    stack = [descriptor]
    while stack:
        tasks = stack.pop().children()
        for task in tasks:
            name = task.task.value if isinstance(task.task, Constant) else UNDETERMINED
            found[name] = None
            if name in (FOR_LOOP, DO_WHILE):
                found[CHAIN] = None
        stack.extend(tasks)
    return list(found)
