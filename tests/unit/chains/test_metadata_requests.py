"""Metadata that a task type does not return are found before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from eas.chains.grammar import parse_chain

from .build import REGISTRY, bins, chain, either, makes, null, repeat, searches

ASKS = {"requires_metadata_from": ["a"]}
MADE = makes("a.gz", name="a")


def warnings(*tasks: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each.path, each.message, each.hint) for each in chain(*tasks).warnings]


def test_a_key_that_the_type_does_not_return_is_reported_with_the_nearest() -> None:
    (found,) = warnings(MADE, null(**ASKS, duration="(requested_metadata['a']['duratoin'] * 0)"))
    assert found == (
        "task_list[1].duration",
        "reads 'duratoin' of 'a', which synthesis_batman does not return: the task would fail",
        "did you mean 'duration'?",
    )


def test_a_type_without_output_metadata_has_no_key_at_all() -> None:
    (found,) = warnings(null(name="a", duration=0), null(**ASKS, duration="(requested_metadata['a']['x'])"))
    assert found[2] == "null returns no metadata"


@pytest.mark.parametrize("criterion", ["(requested_metadata['a']['sed'] > 7)", "(requested_metadata['a']['sde'] > 7)"])
def test_criteria_are_compared_too(criterion: str) -> None:
    search = {"task": "transit_search_tls", "name": "a", "inputs": {"lightcurve": "a.gz"}}
    loop = repeat("i", criterion, search, requires_metadata_from_child=["a"])
    for task in (either(criterion, [], [], **ASKS), loop):
        found = warnings(makes("a.gz"), search, task)
        assert [each[2] for each in found] == (["did you mean 'sde'?"] if "sed" in criterion else [])


@pytest.mark.parametrize(
    "earlier",
    [
        [makes("b.gz"), bins("b.gz", "a.gz", name="a", cadence=600)],
        [{"task": "execution_chain", "name": "a", "task_list": []}],
        [{"task": "('nu' + 'll')", "name": "a"}],
        [null(name="('a')")],
        [null(name="a"), searches("b.gz", name="('a')"), makes("b.gz")],
    ],
)
def test_what_cannot_be_known_is_not_reported(earlier: list[dict[str, Any]]) -> None:
    assert warnings(*earlier, null(**ASKS, duration="(requested_metadata['a']['x'])")) == []


def test_the_last_earlier_task_of_a_name_counts() -> None:
    asks = null(**ASKS, duration="(requested_metadata['a']['mes'])")
    assert warnings(null(name="a"), MADE, asks) == []
    assert len(warnings(MADE, null(name="a"), asks, makes("c.gz", name="a"))) == 1


def test_a_key_that_is_no_literal_is_not_reported() -> None:
    assert warnings(MADE, null(**ASKS, duration="(sum([requested_metadata['a'][k] for k in ['x']]))")) == []


def test_unknown_metadata_stay_a_warning_of_a_stored_chain() -> None:
    text = """{"task_list": [{"task": "null", "name": "a"}, {"task": "null", "requires_metadata_from": ["a"],
        "duration": "(requested_metadata['a']['x'])"}]}"""
    assert len(parse_chain(text, "test.json", REGISTRY).warnings) == 1
