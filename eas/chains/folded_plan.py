"""The plan of a chain for its diagram: a box for each descriptor; loops are folded and show counts.

Boxes of children are inside those of their control tasks; links show files and metadata that tasks read from others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from eas.chains.grammar import Chain
from eas.chains.plan import PlanWalk, walk
from eas.chains.ranges import RANGES
from eas.chains.syntax import is_expression
from eas.chains.tree import Conditional, Constant, Descriptor, DoWhile, ForLoop, Undetermined
from eas.errors import RequestError
from eas.plain_text import one_line
from eas.registry import Registry, TaskType

MAX_BOXES = 2_000


@dataclass
class Box:
    """A task of the file; ``children`` for control tasks.

    ``kind``: *task*, *chain*, *loop*, *choice* or *repeat*. ``count``: number of tasks that it represents, if
    known; in a do-while loop that depends on data, the number in one iteration. ``about``: the description of its
    task type.
    """

    path: str
    label: str
    kind: str = "task"
    count: int | None = None
    children: list[Box] = field(default_factory=list)
    about: str = ""

    def walk(self) -> Iterator[Box]:
        """Yield the box and all in it."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def title(self) -> str:
        """The label, with the count where there are several."""
        return self.label if self.count in (None, 1) else f"{self.label}, {self.count} tasks"


@dataclass(frozen=True)
class Link:
    """A dependency of a box on another: on ``count`` files, one of which is ``example``, or on metadata (count 0).

    ``metadata``: the names that it reads, with their units, as far as they are literals.
    """

    source: str
    target: str
    example: str = ""
    count: int = 0
    metadata: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The file's name, how many files there are, or the names of the metadata."""
        if self.count > 1:
            return f"{self.count} files"
        return self.example.rpartition("/")[2] if self.count else ", ".join(self.metadata) or "metadata"


@dataclass(frozen=True)
class FoldedPlan:
    """The box of the whole chain, and all links."""

    root: Box
    links: tuple[Link, ...]


def fold(chain: Chain, registry: Registry, seed: str, *, job_name: str, working_directory: str) -> FoldedPlan:
    """Return the folded plan of a chain. Raises ChainError as a plan does, RequestError where it has too many boxes."""
    if len(chain.nodes) > MAX_BOXES:
        raise RequestError(
            f"{chain.source} describes {len(chain.nodes)} tasks, but a diagram has at most {MAX_BOXES}",
            hint="use loops, or `eas plan` without --graph",
        )
    walked = walk(chain, registry, seed, job_name=job_name, working_directory=working_directory)
    root = _box(chain.root, walked.planner.tasks_by_path())
    root.label = one_line(job_name, 48)
    known = {box.path for box in root.walk()}
    links = [Link(*ends, example, count) for ends, (example, count) in _files(walked).items()]
    links += _metadata(chain.root, registry)
    for box in root.walk():
        box.about = _declared(chain.nodes.get(box.path), registry).meaning
    return FoldedPlan(root, tuple(each for each in links if {each.source, each.target} <= known))


def _files(walked: PlanWalk) -> dict[tuple[str, str], tuple[str, int]]:
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for source, target, name in walked.planner.products.links():
        example, count = found.get((source, target), (one_line(name, 200), 0))
        found[source, target] = example, count + 1
    return found


def _declared(descriptor: Descriptor | None, registry: Registry) -> TaskType:
    """Return the type of a task; one without any declaration where it is not known."""
    name = descriptor.task.value if descriptor and isinstance(descriptor.task, Constant) else ""
    return registry.task_types.get(str(name), TaskType(""))


def _metadata(root: Descriptor, registry: Registry) -> Iterator[Link]:
    stack = [root]
    while stack:
        descriptor = stack.pop()
        for tasks in _lists(descriptor):
            named: dict[str, Descriptor] = {}
            for task in tasks:
                for name in task.requires.value:
                    if source := named.get(name):
                        yield Link(source.path, task.path, metadata=_read(task, name, _declared(source, registry)))
                if isinstance(task.name, Constant) and task.name.value:
                    named[task.name.value] = task
                stack.append(task)


def _read(task: Descriptor, name: str, source: TaskType) -> tuple[str, ...]:
    """Return the metadata keys, with units, that expressions of ``task`` read from the task ``name``."""
    units = {each.name: each.unit for each in source.declared_metadata() or ()}
    pairs = {pair for each in task.expressions() for pair in each.parsed.requested_keys}
    keys = sorted(one_line(key, 48) for of, key in pairs if of == name)
    return tuple(f"{key} [{units[key]}]" if units.get(key) else key for key in keys)


def _lists(descriptor: Descriptor) -> Sequence[tuple[Descriptor, ...]]:
    if isinstance(descriptor, Conditional):
        return (descriptor.tasks, descriptor.else_tasks)
    return (descriptor.children(),)


def _box(descriptor: Descriptor, counts: Counter[str]) -> Box:
    path, name = descriptor.path, descriptor.name.value
    children = [[_box(each, counts) for each in tasks] for tasks in _lists(descriptor)]
    if isinstance(descriptor, Undetermined) or not (descriptor.children() or path == ""):
        box = Box(path, _text(descriptor.task.value, name), count=counts.get(path))
        box.children = [each for tasks in children for each in tasks]
        return box
    settings: Any = descriptor.settings.value
    if isinstance(descriptor, ForLoop):
        label, kind = f"for {_text(settings['parameter'])}: {_values(settings)}", "loop"
    elif isinstance(descriptor, Conditional):
        lists = zip(("task_list", "else_task_list"), ("then", "else"), children, strict=True)
        branches = [Box(f"{path}.{key}", word, "chain", None, tasks) for key, word, tasks in lists if tasks]
        return Box(path, f"if {_text(settings['criterion'])}", "choice", None, branches)
    elif isinstance(descriptor, DoWhile):
        label, kind = f"repeat while {_text(descriptor.repeat_criterion.value)}", "repeat"
    else:
        label, kind = _text("chain", name), "chain"
    return Box(path, label, kind, None, children[0])


def _values(settings: dict[str, Any]) -> str:
    key = next(each for each in RANGES if each in settings)
    given = settings[key]
    if is_expression(given):
        return "values from an expression"
    number = len(given) if key == "values" else given[2]
    return "values from an expression" if is_expression(number) else f"{number} values"


def _text(value: Any, name: Any = None) -> str:
    text = one_line(str(value), 48)
    return f'{text} "{one_line(str(name), 30)}"' if name else text
