"""Names by which tasks of one list request each other's metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cached_property
from itertools import islice

from eas.chains.syntax import is_expression
from eas.names import closest_names


class Siblings:
    """The names of a list's tasks, while it is walked from the first to the last.

    Attributes
    ----------
    all_names:
        All names.
    types:
        Name of each task before the current one to its literal type, if no earlier name is an expression.
    has_dynamic_names:
        Whether one of these names is an expression: it may turn out to be any name.
    """

    def __init__(self, every: Iterable[str | None] = ()) -> None:
        self.all_names = dict.fromkeys(every)
        self.types: dict[str, str] = {}
        self.has_dynamic_names = False

    def advance(self, name: str | None, task_type: str = "") -> None:
        """Record that the walk has passed the task called ``name``; ``task_type`` is its literal type."""
        if is_expression(name):
            self.has_dynamic_names = True
            self.types.clear()
        elif name is not None:
            self.types[name] = task_type

    def name_problem(self, name: str) -> tuple[str, str] | None:
        """Return message and hint if no earlier task is called ``name``, else None."""
        if self.has_dynamic_names or name in self.types or is_expression(name):
            return None
        if name in self.all_names:
            return f"the task {name!r} comes later in this task_list", "move it before this task"
        return _unknown(name, self.types, "earlier task of this task_list")

    def child_problem(self, name: str) -> tuple[str, str] | None:
        """Return message and hint if no child of a loop is called ``name``, else None."""
        if name in self.all_names or is_expression(name) or self._any_open:
            return None
        return _unknown(name, self.all_names, "child of this loop")

    @cached_property
    def _any_open(self) -> bool:
        return any(map(is_expression, self.all_names))


def _unknown(name: str, names: Collection[str | None], who: str) -> tuple[str, str]:
    known = list(dict.fromkeys(each for each in islice(names, 1000) if isinstance(each, str)))
    near = closest_names(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = f"available names: {', '.join(known[:20])}" if known else 'give one of them a "name"'
    return f"no {who} is named {name!r}", hint + listed
