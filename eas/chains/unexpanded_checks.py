"""Checks expressions of tasks that a plan cannot expand, because their loop depends on data.

An expression that reads only known metadata can be checked nevertheless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eas.chains.evaluator import Scope
from eas.chains.expressions import evaluate_checked
from eas.chains.formats import unknown_key
from eas.chains.paths import joined_path
from eas.chains.tree import CONTROL_KEYS, Constant, Descriptor, DictPart, Expression, ForLoop, Undetermined
from eas.errors import ExpressionError, Problem
from eas.names import index_name


def faults(descriptor: Descriptor, metadata: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield problems below a task that inherits ``metadata`` which occur for any data."""
    stack = [
        (child, inherited) for inherited in [_inherited(descriptor, frozenset())] for child in _children(descriptor)
    ]
    while stack:
        each, unknown = stack.pop()
        if unknown is None:
            continue  # a loop's parameter is an expression: any key may be there
        for expression in each.expressions():
            if problem := _fault(expression, each.path, metadata, unknown):
                yield problem
        if not isinstance(each, Undetermined):
            stack.extend((child, _inherited(each, unknown)) for child in _children(each))


def _children(descriptor: Descriptor) -> tuple[Descriptor, ...]:
    return descriptor.children()[::-1]


def _inherited(descriptor: Descriptor, unknown: frozenset[str] | None) -> frozenset[str] | None:
    """Return the names of inherited metadata with unknown values, or None if any name is possible."""
    if unknown is None or isinstance(descriptor, Undetermined):
        return None
    keys = CONTROL_KEYS.get(str(descriptor.task.value))
    if keys is None or not (key := keys.name):
        return unknown
    settings = descriptor.settings
    if not isinstance(settings, Constant | DictPart) or (isinstance(settings, DictPart) and key in settings.parts):
        return None
    name = str(settings.value.get(key)).strip()
    return unknown | {index_name(name)} | ({name} if isinstance(descriptor, ForLoop) else set())


def _fault(expression: Expression, path: str, metadata: Mapping[str, Any], unknown: frozenset[str]) -> Problem | None:
    names = expression.parsed.metadata_keys
    if names is None or expression.parsed.uses_requested or expression.parsed.uses_random:
        return None
    keys = frozenset(names)
    where = joined_path(path, expression.where.partition("<")[0])
    if absent := sorted(keys - unknown - metadata.keys()):
        error = unknown_key(absent[0], dict.fromkeys([*metadata, *sorted(unknown)]), "metadata")
        return Problem(where, error.what, error.hint)
    if keys & unknown:
        return None
    try:
        evaluate_checked(expression.value, expression.parsed, Scope(metadata), expression.where)
    except ExpressionError as error:
        return Problem(where, error.what, error.hint)
    return None
