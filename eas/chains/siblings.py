"""Names by which tasks of one list request each other's metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cached_property
from itertools import islice

from eas.chains.syntax import is_expression
from eas.names import nearest


class Siblings:
    """The names of a list's tasks, while it is walked from the first to the last.

    Attributes
    ----------
    every:
        All names.
    types:
        Name of each task before the current one to its literal type, if no earlier name is an expression.
    open:
        Whether one of these names is an expression: it may turn out to be any name.
    """

    def __init__(self, every: Iterable[str | None] = ()) -> None:
        self.every = dict.fromkeys(every)
        self.types: dict[str, str] = {}
        self.open = False

    def passed(self, name: str | None, task_type: str = "") -> None:
        """Record that the walk has passed the task called ``name``; ``task_type`` is its literal type."""
        if is_expression(name):
            self.open = True
            self.types.clear()
        elif name is not None:
            self.types[name] = task_type

    def problem(self, name: str) -> tuple[str, str] | None:
        """Return message and hint if no earlier task is called ``name``, else None."""
        if self.open or name in self.types or is_expression(name):
            return None
        if name in self.every:
            return f"the task {name!r} comes later in this task_list", "move it before this task"
        return _unknown(name, self.types, "earlier task of this task_list")

    def child_problem(self, name: str) -> tuple[str, str] | None:
        """Return message and hint if no child of a loop is called ``name``, else None."""
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
    listed = f"available names: {', '.join(known[:20])}" if known else 'give one of them a "name"'
    return f"no {who} is named {name!r}", hint + listed
