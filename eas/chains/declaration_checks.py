"""Compares settings, inputs, outputs and metadata in a chain with the declarations of the task types.

Only literal values are checked here; values of expressions are checked by the task itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from eas.chains.paths import child_path
from eas.chains.syntax import is_expression
from eas.chains.tree import CONTROL_KEYS
from eas.errors import Problem
from eas.names import closest_names
from eas.registry import TaskType
from eas.tasks.settings import Group, Number, Setting, is_text_number


def setting_warnings(
    declared: Sequence[Setting], given: Mapping[str, Any], path: str, keys: Sequence[str] = ()
) -> Iterator[Problem]:
    """Yield a warning for each setting in ``given`` that is unknown or a bad literal, and for each that is missing.

    ``keys``: of the language, which may be meant by an unknown setting, too.
    """
    known = {each.name: each for each in declared}
    yield from unknown_settings(list(known), given, path, keys)
    dynamic = any(map(is_expression, given))
    for name, setting in known.items():
        value = given.get(name)
        where = child_path(path, name)
        if value is None:
            if setting.needed and not dynamic:
                yield Problem(path, f"the setting {name} is missing", "the task fails without it")
        elif is_expression(value):
            continue
        elif fault := setting.fault(value):
            yield Problem(where, f"{fault[0]}: the task would fail", fault[1])
        elif isinstance(setting, Group):
            yield from setting_warnings(setting.settings, value, where)
        elif isinstance(setting, Number) and is_text_number(value):
            yield Problem(where, f"is the string {value[:40]!r}, which is read as a number", "give it without quotes")


def control_warnings(name: str, given: Mapping[str, Any], path: str, keys: Sequence[str]) -> Iterator[Problem]:
    """Yield a warning for each key that the control task ``name`` does not read; ``keys``: of the language."""
    yield from unknown_settings(CONTROL_KEYS[name].settings, given, path, keys)


def unknown_settings(
    known: Sequence[str], given: Mapping[str, Any], path: str, keys: Sequence[str] = ()
) -> Iterator[Problem]:
    """Yield a warning for each name in ``given`` that is not ``known``, and the nearest of these or of ``keys``."""
    for name in given:
        if name in known or is_expression(name):
            continue
        near = closest_names(name, known, 1, cutoff=0.5) or closest_names(name, keys, 1, cutoff=0.7)
        listed = f"its settings are {', '.join(known)}" if known else "there are no settings here"
        hint = f"did you mean {near[0]!r}?" if near else listed
        yield Problem(child_path(path, name), "unknown setting: it is ignored", hint)


def metadata_problem(task_type: TaskType, name: str, key: str) -> tuple[str, str] | None:
    """Return message and hint if the task ``name`` cannot return the metadata ``key``, else None."""
    declared = task_type.declared_metadata()
    if declared is None or task_type.metadata_from or any(each.name == key for each in declared):
        return None
    known = [each.name for each in declared]
    near = closest_names(key, known, 1)
    listed = f"{task_type.name} returns {', '.join(known) or 'no metadata'}"
    message = f"reads {key!r} of {name!r}, which {task_type.name} does not return: the task would fail"
    return message, f"did you mean {near[0]!r}?" if near else listed


def required_names(task_type: TaskType, given: Mapping[str, Any], what: str, path: str) -> Iterator[Problem]:
    """Yield a problem for each required semantic name of ``task_type`` that is missing."""
    required = getattr(task_type, what)
    optional = getattr(task_type, f"optional_{what}", ())
    for name in required:
        if name in given:
            continue
        near = closest_names(name, (each for each in given if each not in required and each not in optional), 1)
        hint = f"did you mean {name!r} instead of {near[0]!r}? " if near else ""
        yield Problem(
            path, f"{task_type.name} needs {what}.{name}", f'{hint}give "{what}": {{"{name}": "a file name"}}'
        )


def unknown_names(
    task_type: TaskType, given: Mapping[str, Any], what: Literal["inputs", "outputs"], path: str
) -> Iterator[Problem]:
    """Yield a problem for each semantic name that ``task_type`` does not have, where it declares its names."""
    known = task_type.known_files(what)
    if known is None:
        return
    for name in given:
        if name not in known and not is_expression(name):
            free = [each for each in known if each not in given]
            near = closest_names(name, free, 1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            has = f"its {what} are {', '.join(known)}" if known else f"it has no {what}"
            where = child_path(child_path(path, what), name)
            yield Problem(where, f"{task_type.name} has no {what}.{name}", guess + has)
