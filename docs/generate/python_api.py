"""Generate the page about the Python interface: a directive for each public name, whose docstring Sphinx inserts."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import eas
import eas.task_api
from docs.generate.markdown import NOTE


def page() -> str:
    """Return the page with a directive for each public name."""
    lines = [
        "# Python interface",
        "",
        NOTE,
        "",
        "[EAS from Python](../how_to/python.md) shows the use of `eas`, and",
        "[A task type of your own](../example_task_package/README.md) that of `eas.task_api`.",
        "",
        "## `eas`",
        "",
        *_directives(eas),
        "",
        "## `eas.task_api`",
        "",
        *_directives(eas.task_api),
    ]
    return "\n".join(lines) + "\n"


def _directives(module: ModuleType) -> Iterator[str]:
    yield from ("```{eval-rst}", f".. currentmodule:: {module.__name__}")
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type):
            yield from ("", f".. autoclass:: {name}", "   :members:", "   :inherited-members: Exception, object, tuple")
        elif callable(value):
            yield from ("", f".. autofunction:: {name}")
    yield "```"
