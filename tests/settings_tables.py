"""The tables of settings in docs/reference/task_types.md, made from the declarations of the task types.

``python -m tests.settings_tables`` writes them again; a test fails where the page has others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from eas.registry import Registry, build, builtin
from eas.tasks.settings import Choice, Group, Number, Setting, Switch, Text

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "task_types.md"
BLOCK = re.compile(r"(<!-- settings of ([a-z_, ]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
HEAD = ("| setting | default | range | unit | meaning |", "|---|---|---|---|---|")


def table(settings: tuple[Setting, ...]) -> list[str]:
    """Return the lines of a table of settings; those of a dictionary with its name before them."""
    return [*HEAD, *_rows(settings, "")]


def _rows(settings: tuple[Setting, ...], where: str) -> Iterator[str]:
    for each in settings:
        if isinstance(each, Group):
            yield from _rows(each.settings, f"{each.name}.")
        else:
            unit = each.unit if isinstance(each, Number) and not isinstance(each, Switch) else ""
            cells = (f"`{where}{each.name}`", _default(each), _range(each), unit, each.meaning)
            yield re.sub(" +", " ", f"| {' | '.join(cells)} |")


def _default(setting: Number | Choice | Text) -> str:
    if setting.needed:
        return "none: needed"
    default = getattr(setting, "default", None)
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else f"`{default}`" if isinstance(default, str) else f"{default:.10g}"


def _range(setting: Number | Choice | Text) -> str:
    if isinstance(setting, Choice):
        return ", ".join(f"`{each}`" for each in setting.choices)
    if isinstance(setting, Text):
        return "text"
    if isinstance(setting, Switch):
        return "true or false"
    words = ["whole number"] if setting.whole else []
    if math.isfinite(setting.low):
        words.append(f"{'above' if setting.above else 'at least'} {setting.low:.10g}")
    if math.isfinite(setting.high):
        words.append(f"{'below' if setting.below else 'at most'} {setting.high:.10g}")
    return ", ".join(words)


def with_tables(text: str, registry: Registry) -> str:
    """Return a page with the tables between its markers made again."""

    def block(found: re.Match[str]) -> str:
        settings = registry.task_types[found[2]].declared_settings() or ()
        return found[1] + "\n".join(["", *table(settings), "", ""]) + found[3]

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(page, build([("builtin", builtin())])), encoding="utf-8")
