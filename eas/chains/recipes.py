"""What of a descriptor has to be evaluated, found once for each descriptor.

A for-loop configures the same descriptor up to 10^5 times. Parts without an expression are shared
by all of these tasks; the others are walked without looking for expressions again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from eas.chains.expressions import check, is_expression
from eas.chains.paths import child_path
from eas.chains.structure import LATER

Evaluate: TypeAlias = Callable[[str, str], Any]
"""Gives the value of an expression at a key path."""

NOT_SETTINGS = frozenset(
    ("task", "name", "inputs", "outputs", "job_name", "working_directory", "requires_metadata_from", *LATER)
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a descriptor: a constant, or something to be evaluated."""

    value: Any
    dynamic: bool = False

    def fill(self, evaluate: Evaluate) -> Any:
        """Return the part with its expressions evaluated; what has none is shared."""
        return self.value


@dataclass(frozen=True, slots=True)
class Expression(Part):
    """An expression; ``where`` is its key path in the descriptor."""

    where: str = ""

    def fill(self, evaluate: Evaluate) -> Any:
        return evaluate(self.value, self.where)


@dataclass(frozen=True, slots=True)
class ListPart(Part):
    """A list with expressions in it; ``value`` holds its parts."""

    def fill(self, evaluate: Evaluate) -> Any:
        return [part.fill(evaluate) if part.dynamic else part.value for part in self.value]


@dataclass(frozen=True, slots=True)
class DictPart(Part):
    """An object with expressions in it; ``value`` holds pairs of parts."""

    def fill(self, evaluate: Evaluate) -> Any:
        return {
            _key(key.fill(evaluate)): part.fill(evaluate) if part.dynamic else part.value for key, part in self.value
        }


def _key(value: Any) -> str:
    """Return ``value`` as JSON has it for a key: a string."""
    return value if isinstance(value, str) else str(value)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to configure the descriptor at ``path``.

    Attributes
    ----------
    asks:
        Whether it has ``requires_metadata_from``.
    keys:
        All keys of the descriptor.
    """

    path: str
    task: Part
    name: Part
    inputs: Part
    outputs: Part
    job_name: Part
    working_directory: Part
    requires: Part
    settings: Part
    asks: bool
    keys: frozenset[str]


def recipe(descriptor: Mapping[str, Any], path: str) -> Recipe:
    """Return how to configure ``descriptor``, which passed the structure check."""
    settings = {key: value for key, value in descriptor.items() if key not in NOT_SETTINGS}
    requires = descriptor.get("requires_metadata_from", [])
    parts = {
        key: compiled(descriptor.get(key, default), key)
        for key, default in (
            ("task", None),
            ("name", None),
            ("inputs", {}),
            ("outputs", {}),
            ("job_name", None),
            ("working_directory", None),
        )
    }
    return Recipe(
        path, **parts, requires=compiled(requires, "requires_metadata_from"),
        settings=compiled(settings, ""), asks=bool(requires), keys=frozenset(descriptor),
    )  # fmt: skip


def compiled(value: Any, where: str) -> Part:
    """Return ``value`` as a part: constant as far as nothing in it is an expression."""
    if is_expression(value):
        check(value)
        return Expression(value, True, where)
    if isinstance(value, list):
        parts = [compiled(element, child_path(where, index)) for index, element in enumerate(value)]
        return ListPart(parts, True) if any(part.dynamic for part in parts) else Part(value)
    if isinstance(value, dict):
        pairs = [
            (compiled(key, f"{where}<{key}>"), compiled(each, child_path(where, key))) for key, each in value.items()
        ]
        return DictPart(pairs, True) if any(key.dynamic or part.dynamic for key, part in pairs) else Part(value)
    return Part(value)
