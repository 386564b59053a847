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
from eas.chains.syntax import Parsed

Evaluate: TypeAlias = "Callable[[Expression], Any]"
"""Gives the value of an expression."""

NOT_SETTINGS = frozenset(
    ("task", "name", "inputs", "outputs", "job_name", "working_directory", "requires_metadata_from", *LATER)
)


_OWN_KEYS: Mapping[str, Any] = {
    "task": None, "name": None, "inputs": {}, "outputs": {}, "job_name": None, "working_directory": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a descriptor: a constant, or something to be evaluated."""

    value: Any
    dynamic: bool

    def fill(self, evaluate: Evaluate) -> Any:
        """Return the part with its expressions evaluated; what has none is shared."""
        return self.value


@dataclass(frozen=True, slots=True)
class Expression(Part):
    """An expression.

    ``where`` is its key path in the descriptor; ``keys``, where it depends on little besides,
    those metadata that its value is worth remembering by.
    """

    where: str
    parsed: Parsed
    keys: tuple[str, ...] | None

    def fill(self, evaluate: Evaluate) -> Any:
        return evaluate(self)


@dataclass(frozen=True, slots=True)
class ListPart(Part):
    """A list with expressions in it; ``value`` holds its parts."""

    def fill(self, evaluate: Evaluate) -> Any:
        return [part.fill(evaluate) if part.dynamic else part.value for part in self.value]


@dataclass(frozen=True, slots=True)
class DictPart(Part):
    """An object with expressions in it; ``value`` holds pairs of keys (parts where they are expressions) and parts."""

    def fill(self, evaluate: Evaluate) -> Any:
        filled = {}
        for key, part in self.value:
            own = key if type(key) is str else _key(key.fill(evaluate))
            filled[own] = part.fill(evaluate) if part.dynamic else part.value
        return filled


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
    constant:
        Whether nothing in it is an expression.
    fixed_names:
        Whether its task type and the semantic names of its inputs and outputs are no expressions,
        so that the structure check has compared them.
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
    constant: bool
    fixed_names: bool
    keys: frozenset[str]


def recipe(descriptor: Mapping[str, Any], path: str) -> Recipe:
    """Return how to configure ``descriptor``, which passed the structure check."""
    settings = {key: value for key, value in descriptor.items() if key not in NOT_SETTINGS}
    parts = {key: compiled(descriptor.get(key, default), key) for key, default in _OWN_KEYS.items()}
    requires = compiled(descriptor.get("requires_metadata_from", []), "requires_metadata_from")
    own_settings = compiled(settings, "")
    products = (parts["inputs"], parts["outputs"])
    return Recipe(
        path,
        **parts,
        requires=requires,
        settings=own_settings,
        asks=bool(requires.value),
        constant=not any(part.dynamic for part in (*parts.values(), requires, own_settings)),
        fixed_names=not parts["task"].dynamic and not any(map(_has_dynamic_keys, products)),
        keys=frozenset(descriptor),
    )


def _has_dynamic_keys(part: Part) -> bool:
    return isinstance(part, DictPart) and any(isinstance(key, Part) for key, _ in part.value)


def _keys(parsed: Parsed) -> tuple[str, ...] | None:
    keys = parsed.metadata_keys
    if keys is None or len(keys) > 2 or parsed.uses_random or parsed.uses_requested:
        return None
    return tuple(sorted(keys))


def compiled(value: Any, where: str) -> Part:
    """Return ``value`` as a part: constant as far as nothing in it is an expression."""
    if is_expression(value):
        parsed = check(value)
        return Expression(value, True, where, parsed, _keys(parsed))
    if isinstance(value, list):
        parts = [compiled(element, child_path(where, index)) for index, element in enumerate(value)]
        return ListPart(parts, True) if any(part.dynamic for part in parts) else Part(value, False)
    if isinstance(value, dict):
        pairs = [(_compiled_key(key, where), compiled(each, child_path(where, key))) for key, each in value.items()]
        dynamic = any(part.dynamic or isinstance(key, Part) for key, part in pairs)
        return DictPart(pairs, True) if dynamic else Part(value, False)
    return Part(value, False)


def _compiled_key(key: str, where: str) -> str | Part:
    return compiled(key, f"{where}<{key}>") if is_expression(key) else key
