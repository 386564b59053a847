"""Names that tasks ask one another for, and names that a task type must be given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Literal

from eas.chains.paths import child_path
from eas.chains.syntax import is_expression
from eas.errors import Problem
from eas.names import nearest
from eas.registry import TaskType


class Siblings:
    """The names of a list's tasks, while it is walked from the first to the last.

    Attributes
    ----------
    every:
        All names.
    earlier:
        Those before the present task.
    types:
        Literal task types of ``earlier``, as far as it is known which task has the name.
    open:
        Whether one of ``earlier`` is an expression: it may turn out to be any name.
    """

    def __init__(self, every: Iterable[str | None] = ()) -> None:
        self.every = dict.fromkeys(every)
        self.earlier: dict[str | None, None] = {}
        self.types: dict[str, str] = {}
        self.open = False

    def passed(self, name: str | None, task_type: str = "") -> None:
        """Go on to the next task, after the one called ``name``; ``task_type``: its literal type."""
        self.earlier[name] = None
        if is_expression(name):
            self.open = True
            self.types.clear()
        elif name is not None:
            self.types[name] = task_type

    def problem(self, name: str) -> tuple[str, str] | None:
        """Return what is wrong with asking the earlier tasks for the metadata of ``name``, and the hint."""
        if self.open or name in self.earlier or is_expression(name):
            return None
        if name in self.every:
            return f"the task {name!r} comes later in this task_list", "move it before this task"
        return _unknown(name, self.earlier, "earlier task of this task_list")

    def child_problem(self, name: str) -> tuple[str, str] | None:
        """Return what is wrong with a loop that asks its children, all of the list, for ``name``, and the hint."""
        if name in self.every or is_expression(name) or self._any_open:
            return None
        return _unknown(name, self.every, "child of this loop")

    @cached_property
    def _any_open(self) -> bool:
        return any(map(is_expression, self.every))


def _unknown(name: str, names: Collection[str | None], who: str) -> tuple[str, str]:
    known = list(dict.fromkeys(each for each in islice(names, 1000) if isinstance(each, str)))
    near = nearest(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = f"there are {', '.join(known[:20])}" if known else 'give one of them a "name"'
    return f"no {who} is named {name!r}", hint + listed


def metadata_problem(task_type: TaskType, name: str, key: str) -> tuple[str, str] | None:
    """Return what is wrong with reading ``key`` of the task ``name``, and the hint; None where it may be there."""
    declared = task_type.declared_metadata()
    if declared is None or task_type.metadata_from or any(each.name == key for each in declared):
        return None
    known = [each.name for each in declared]
    near = nearest(key, known, 1)
    listed = f"{task_type.name} returns {', '.join(known) or 'no metadata'}"
    message = f"reads {key!r} of {name!r}, which {task_type.name} does not return: the task would fail"
    return message, f"did you mean {near[0]!r}?" if near else listed


def required_names(task_type: TaskType, given: Mapping[str, Any], what: str, path: str) -> Iterator[Problem]:
    """Yield a problem for each semantic name that ``task_type`` must be given and is not."""
    required = getattr(task_type, what)
    optional = getattr(task_type, f"optional_{what}", ())
    for name in required:
        if name in given:
            continue
        near = nearest(name, (each for each in given if each not in required and each not in optional), 1)
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
            near = nearest(name, free, 1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            has = f"its {what} are {', '.join(known)}" if known else f"it has no {what}"
            where = child_path(child_path(path, what), name)
            yield Problem(where, f"{task_type.name} has no {what}.{name}", guess + has)
