"""docs/reference/task_types.md has the settings of every task type, as they are declared."""

from __future__ import annotations

import re

from eas.registry import build, builtin
from tests.settings_tables import BLOCK, PAGE, with_tables

REGISTRY = build([("builtin", builtin())])


def test_the_tables_are_those_of_the_declarations() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_tables(page, REGISTRY), "python -m tests.settings_tables writes them again"


def test_a_change_of_a_table_is_noticed() -> None:
    page = PAGE.read_text(encoding="utf-8").replace("| 730 |", "| 365 |")
    assert page != with_tables(page, REGISTRY)


def test_every_type_with_settings_has_a_table() -> None:
    names = [found[2] for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(each.name for each in REGISTRY.task_types.values() if each.declared_settings())
    for name in names:
        assert re.search(rf"`{name}`", PAGE.read_text(encoding="utf-8"))
