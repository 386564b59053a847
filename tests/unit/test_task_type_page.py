"""docs/reference/task_types.md has all that is declared of every task type; test_reference_pages compares it."""

from __future__ import annotations

import pytest

from docs.generate.task_types import BLOCK, PAGE, filled
from eas.registry import builtin, merge_registries

REGISTRY = merge_registries([("builtin", builtin())])
TYPES = {each.name: each for each in REGISTRY.task_types.values() if each.implementation}


def test_every_type_that_runs_has_a_section() -> None:
    names = [found[2] for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(TYPES)


@pytest.mark.parametrize(
    "old, new",
    [
        ("| 730 |", "| 365 |"),
        ("| `sde` | number |", "| `sed` | number |"),
        ("the light curve that is binned", "the light curve"),
        ("A&A 391, 369", "A&A 391, 396"),
        ("Uses these metadata of its inputs: `orbital_period`", "Reads: `period`"),
    ],
)
def test_a_change_is_noticed(old: str, new: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert old in page
    assert filled(page.replace(old, new), REGISTRY) == page


@pytest.mark.parametrize("name", TYPES)
def test_what_code_does_is_declared(name: str) -> None:
    task_type = TYPES[name]
    assert task_type.meaning and not task_type.meaning.endswith(".")
    assert task_type.declared_metadata() is not None
    assert set(task_type.metadata_from) <= set(task_type.known_files("inputs") or ())
    if not task_type.any_files:
        for what in ("inputs", "outputs"):
            assert all(task_type.file_meanings("inputs" if what == "inputs" else "outputs").values())
    assert bool(task_type.papers) == name.startswith(("synthesis_", "transit_search_"))
