"""The syntax tree of a task chain, parsed and checked once.

A for-loop configures the same descriptor up to 10^5 times. All these tasks share constants; only parts with
expressions are evaluated for each task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from eas.chains.ranges import RANGES
from eas.chains.syntax import Parsed
from eas.model import CHAIN, CONDITIONAL, DO_WHILE, FOR_LOOP

Evaluate: TypeAlias = "Callable[[Expression], Any]"
"""Returns the value of an expression."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value without an expression in it; all tasks made of the descriptor share it."""

    value: Any

    def fill(self, evaluate: Evaluate) -> Any:
        """Return the value."""
        return self.value

    def expressions(self) -> Iterator[Expression]:
        """Yield the expressions in it: none."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression.

    ``where`` is its key path in the descriptor, which seeds its random numbers. ``keys``: the metadata on which
    its value depends, if these are few and it depends on nothing else; else None.
    """

    value: str
    where: str
    parsed: Parsed
    keys: tuple[str, ...] | None

    def fill(self, evaluate: Evaluate) -> Any:
        """Return the value of the expression."""
        return evaluate(self)

    def expressions(self) -> Iterator[Expression]:
        """Yield itself."""
        yield self


@dataclass(frozen=True, slots=True)
class ListPart:
    """A list with expressions in it; ``parts`` holds their indices."""

    value: list[Any]
    parts: tuple[tuple[int, Part], ...]

    def fill(self, evaluate: Evaluate) -> Any:
        """Return a copy with its expressions evaluated."""
        filled = list(self.value)
        for index, part in self.parts:
            filled[index] = part.fill(evaluate)
        return filled

    def expressions(self) -> Iterator[Expression]:
        """Yield the expressions in it, nested ones included."""
        for _, part in self.parts:
            yield from part.expressions()


@dataclass(frozen=True, slots=True)
class DictPart:
    """An object with expressions in it; ``parts`` and ``keys`` hold those of values and of keys, by key."""

    value: dict[str, Any]
    parts: dict[str, Part]
    keys: dict[str, Expression]

    def fill(self, evaluate: Evaluate) -> Any:
        """Return a copy with its expressions evaluated; a key that is no string becomes one, as JSON has it."""
        if not self.keys:
            filled = dict(self.value)
            for key, part in self.parts.items():
                filled[key] = part.fill(evaluate)
            return filled
        filled = {}
        for key, value in self.value.items():
            own = str(self.keys[key].fill(evaluate)) if key in self.keys else key
            filled[own] = self.parts[key].fill(evaluate) if key in self.parts else value
        return filled

    def expressions(self) -> Iterator[Expression]:
        """Yield the expressions in it, nested ones included."""
        yield from self.keys.values()
        for part in self.parts.values():
            yield from part.expressions()


Part: TypeAlias = Constant | Expression | ListPart | DictPart
"""A part of a descriptor: a constant, or something to evaluate."""
NONE = Constant(None)
EMPTY = Constant({})
NO_NAMES = Constant([])


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A task of the file.

    Attributes
    ----------
    path:
        JSON path of the descriptor; empty for the whole chain.
    requires:
        Names of earlier siblings whose output metadata its expressions read.
    settings:
        Settings that the task type reads.
    constant:
        Whether it contains no expression.
    fixed_names:
        Whether its task type and the semantic names of its inputs and outputs are no expressions,
        so that the parser has compared them.
    """

    path: str
    task: Part
    name: Part = NONE
    job_name: Part = NONE
    working_directory: Part = NONE
    inputs: Part = EMPTY
    outputs: Part = EMPTY
    requires: Part = NO_NAMES
    settings: Part = EMPTY
    constant: bool = True
    fixed_names: bool = True

    def expressions(self) -> Iterator[Expression]:
        """Yield the expressions that are evaluated when the task is configured."""
        own = (self.task, self.name, self.job_name, self.working_directory, self.inputs, self.outputs)
        for part in (*own, self.requires, self.settings):
            yield from part.expressions()

    def children(self) -> tuple[Descriptor, ...]:
        """Return the descriptors in its task lists."""
        return ()


EVALUATED_AT_EXPANSION = ("task_list", "else_task_list", "repeat_criterion")
"""Keys of a descriptor whose expressions are evaluated later, at expansion."""


class ControlKeys(NamedTuple):
    """Keys of a control task's descriptor, besides those that every task has.

    ``required`` must be there, ``optional`` may; ``name`` is the one that names a loop's value or iteration.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    name: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """Those that are evaluated when the task is configured."""
        return tuple(key for key in (*self.required, *self.optional) if key not in EVALUATED_AT_EXPANSION)


CONTROL_KEYS: Mapping[str, ControlKeys] = {
    CHAIN: ControlKeys(("task_list",)),
    FOR_LOOP: ControlKeys(("task_list", "parameter"), RANGES, "parameter"),
    CONDITIONAL: ControlKeys(("criterion",), ("task_list", "else_task_list")),
    DO_WHILE: ControlKeys(
        ("task_list", "iteration_name", "repeat_criterion"), ("requires_metadata_from_child",), "iteration_name"
    ),
}


@dataclass(frozen=True, slots=True)
class Leaf(Descriptor):
    """A task that a worker runs."""


@dataclass(frozen=True, slots=True)
class ExecutionChain(Descriptor):
    """The tasks of a list, or those of one value of a loop."""

    tasks: tuple[Descriptor, ...] = ()

    def children(self) -> tuple[Descriptor, ...]:
        """Return the descriptors in its task lists."""
        return self.tasks


@dataclass(frozen=True, slots=True)
class ForLoop(ExecutionChain):
    """A chain for each of some values."""


@dataclass(frozen=True, slots=True)
class Conditional(ExecutionChain):
    """One of two lists of tasks."""

    else_tasks: tuple[Descriptor, ...] = ()

    def children(self) -> tuple[Descriptor, ...]:
        """Return the descriptors in its task lists."""
        return self.tasks + self.else_tasks


@dataclass(frozen=True, slots=True)
class DoWhile(ExecutionChain):
    """A chain that is repeated while its criterion, evaluated after each iteration, is true."""

    repeat_criterion: Part = NONE


@dataclass(frozen=True, slots=True)
class Undetermined(Conditional):
    """A task whose type is an expression: any of the others, with the keys that the file gives it."""

    repeat_criterion: Part = NONE
    keys: frozenset[str] = field(default=frozenset())


Nodes: TypeAlias = Mapping[str, Descriptor]
"""All descriptors of a chain by JSON path; the task database stores the path of each task."""
