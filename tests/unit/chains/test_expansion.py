"""Control tasks expand into the children that the language promises."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas.chains.expansion import Expander
from eas.chains.limits import NotAllowedError
from eas.chains.ranges import loop_values
from eas.errors import ChainError, MissingMetadataError
from eas.model import TaskSpec

from .build import PASSED, campaign_chain, either, expander, loop, makes, null, repeat, searches

FINITE = st.floats(-1e300, 1e300)


def leaves(expand: Expander, spec: TaskSpec) -> list[TaskSpec]:
    if not spec.is_control:
        return [spec]
    return [leaf for child in expand.children(spec) for leaf in leaves(expand, child)]


def only(expand: Expander) -> TaskSpec:
    [child] = expand.children(expand.root("job", "wd"))
    return child


def test_chain_gives_one_child_for_each_descriptor() -> None:
    expand = expander(null(duration=0), null(name="b", job_name="other", working_directory="elsewhere"))
    first, second = expand.children(expand.root("job", "wd"))
    assert (first.address, first.path, first.job_name, first.working_directory) == ("0", "task_list[0]", "job", "wd")
    assert first.settings == {"duration": 0}
    assert (second.address, second.name, second.job_name, second.working_directory) == ("1", "b", "other", "elsewhere")
    assert second.ordinal == 1


def test_nested_chain_inherits() -> None:
    inner = {"task": "execution_chain", "working_directory": "'d_{a}'.format(**metadata)", "task_list": [null()]}
    expand = expander(loop("a", [5], inner))
    [leaf] = leaves(expand, expand.root("job", "wd"))
    assert (leaf.address, leaf.path) == ("0.0.0.0", "task_list[0].task_list[0].task_list[0]")
    assert leaf.working_directory == "d_5"
    assert leaf.metadata == {"a": 5, "a_index": 0}


def test_for_loop_over_values() -> None:
    expand = expander(loop("x", [3, 2.5, "tls", True, None, "(1 + 1)"], null(duration="(metadata['x_index'])")))
    task = only(expand)
    chains = list(expand.children(task))
    assert [each.metadata["x"] for each in chains] == [3, 2.5, "tls", True, None, 2]
    assert [type(each.metadata["x"]) for each in chains[:2]] == [int, float]
    assert [each.address for each in chains] == [f"0.{i}" for i in range(6)]
    assert {each.path for each in chains} == {"task_list[0]"}
    assert {each.task_type for each in chains} == {"execution_chain"}
    assert all(each.settings == {} for each in chains)
    [leaf] = expand.children(chains[4])
    assert leaf.settings == {"duration": 4}
    assert leaf.address == "0.4.0"


def test_values_and_keys_may_be_expressions() -> None:
    expand = expander(loop("x", "(range(3))", null(specs={"'k{x}'.format(**metadata)": "(metadata['x'])", "(7)": 1})))
    assert [leaf.settings["specs"] for leaf in leaves(expand, expand.root("j", "w"))] == [
        {f"k{x}": x, "7": 1} for x in range(3)
    ]


@given(FINITE, FINITE, st.integers(1, 60))
def test_linear_range_ends_exactly(first: float, last: float, number: int) -> None:
    values = loop_values({"linear_range": [first, last, number]})
    assert len(values) == number
    assert values[0] == first
    assert number == 1 or values[-1] == last
    assert all(type(value) is float and math.isfinite(value) for value in values)
    steps = [b - a for a, b in itertools.pairwise(values)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6, abs_tol=1e-9 * max(abs(first), abs(last))) for step in steps)


@given(st.floats(1e-30, 1e30), st.floats(1e-30, 1e30), st.integers(1, 60))
def test_log_range_ends_exactly(first: float, last: float, number: int) -> None:
    values = loop_values({"log_range": [first, last, number]})
    assert len(values) == number
    assert values[0] == first
    assert number == 1 or values[-1] == last
    ratios = [b / a for a, b in itertools.pairwise(values)]
    assert all(math.isclose(ratio, ratios[0], rel_tol=1e-9) for ratio in ratios)


def test_ranges_of_integers_give_floats() -> None:
    assert loop_values({"linear_range": [0, 1, 5]}) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [type(value) for value in loop_values({"log_range": [1, 100, 3.0]})] == [float] * 3
    assert loop_values({"values": []}) == []


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "no values"),
        ({"values": [1], "log_range": [1, 2, 3]}, "values and log_range"),
        ({"values": "abc"}, "values is a string"),
        ({"values": [[1]]}, r"values\[0\] is a list"),
        ({"linear_range": [1, 2]}, "a list of 2"),
        ({"linear_range": [1, 2, 0]}, "no number of values"),
        ({"linear_range": [1, 2, 2.5]}, "no number of values"),
        ({"linear_range": [1, 2, True]}, "no number of values"),
        ({"linear_range": [1, 2, 10**9]}, "no number of values"),
        ({"linear_range": ["a", 2, 3]}, "no bound"),
        ({"linear_range": [1, math.nan, 3]}, "no bound"),
        ({"linear_range": [1, 10**400, 3]}, "no bound"),
        ({"log_range": [0, 2, 3]}, "not above 0"),
    ],
)
def test_ranges_that_are_none(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(NotAllowedError, match=what):
        loop_values(settings)


def test_real_life_sweep() -> None:
    expand = Expander(expander(campaign_chain()).chain, expander(null()).registry, "1")
    found = leaves(expand, expand.root("job", "wd"))
    assert len(found) == 2 * 2 * 10 * 3
    assert found[-1].task_type == "transit_search_tls"
    assert found[-1].inputs == {"lightcurve": "evsize_batman_1_1_9.gz"}
    assert found[-3].outputs == found[-1].inputs
    assert found[0].settings["specs"]["noise"] == 0.000315
    assert found[0].settings["specs"]["planet_radius"] == 0.08911486 / 4
    assert found[-1].metadata["size"] == 0.08911486 * 4
    assert found[-1].settings == {"lc_duration": 84}


@given(st.lists(st.integers(-(10**12), 10**12) | st.floats(-1e6, 1e6), min_size=1, max_size=6))
def test_indices_format_as_integers(values: list[float]) -> None:
    expand = expander(loop("a", values, makes("'x_{a_index}.gz'.format(**metadata)")))
    files = [leaf.outputs["lightcurve"] for leaf in leaves(expand, expand.root("j", "w"))]
    assert files == [f"x_{i}.gz" for i in range(len(values))]


def test_equal_numbers_of_different_types_are_distinct() -> None:
    expand = expander(loop("a", [1, 1.0, True, "1", 0.0, -0.0], makes("'x_{a}.gz'.format(**metadata)")))
    files = [leaf.outputs["lightcurve"] for leaf in leaves(expand, expand.root("j", "w"))]
    assert files == ["x_1.gz", "x_1.0.gz", "x_True.gz", "x_1.gz", "x_0.0.gz", "x_-0.0.gz"]


def test_random_numbers_are_reproducible_and_independent() -> None:
    def draw(seed: str, *, reverse: bool = False) -> dict[str, Any]:
        task = null(a="(random.random())", b="(random.random())", specs={"c": "(random.gauss(0, 1))"})
        expand = expander(loop("x", [1, 2], task), seed=seed)
        chains = list(expand.children(only(expand)))
        specs = [leaf for each in (chains[::-1] if reverse else chains) for leaf in expand.children(each)]
        return {leaf.address: leaf.settings for leaf in specs}

    first = draw("7")
    assert draw("7", reverse=True) == first
    assert draw("8") != first
    numbers = [number for each in first.values() for number in (each["a"], each["b"])]
    assert len(set(numbers)) == 4


def test_static_settings_are_shared() -> None:
    expand = expander(loop("x", [1, 2], null(specs={"a": [1, 2]})))
    one, other = leaves(expand, expand.root("j", "w"))
    assert one.settings is other.settings


def test_conditional_runs_one_branch() -> None:
    expand = expander(loop("x", [0, 1], either("(metadata['x'] > 0)", [null(name="yes")], [null(), null(name="no")])))
    for each, (branch, names) in zip(
        expand.children(only(expand)), [(False, [None, "no"]), (True, ["yes"])], strict=True
    ):
        [conditional] = expand.children(each)
        assert expand.criterion(conditional) is branch
        assert [child.name for child in expand.children(conditional, branch=branch)] == names
    [child] = expand.children(conditional, branch=True)
    assert (child.address, child.path) == ("0.1.0.0", "task_list[0].task_list[0].task_list[0]")
    assert [c.path for c in expand.children(conditional, branch=False)][1].endswith("task_list[0].else_task_list[1]")


def test_missing_branches_are_empty() -> None:
    expand = expander({"task": "execution_conditional", "criterion": False})
    assert list(expand.children(only(expand), branch=False)) == []
    assert list(expand.children(only(expand), branch=True)) == []


def test_conditional_waits_for_metadata() -> None:
    task = either(PASSED, [null()], [], requires_metadata_from=["transit_detection"], label="(1 + 1)")
    expand = expander(searches("a.gz", name="transit_detection"), task)
    _, spec = expand.children(expand.root("j", "w"))
    assert spec.pending
    assert spec.requires == ("transit_detection",)
    assert spec.settings["criterion"] == PASSED
    assert spec.settings["label"] == 2
    with pytest.raises(ChainError, match="1 problem"):
        expand.criterion(spec)
    for outcome, expected in (("PASS", True), ("FAIL", False)):
        full = expand.reconfigure(spec, {"transit_detection": {"outcome": outcome}})
        assert not full.pending
        assert expand.criterion(full) is expected
        assert (full.address, full.path, full.metadata) == (spec.address, spec.path, spec.metadata)
    with pytest.raises(ChainError) as caught:
        expand.reconfigure(spec, {"transit_detection": {}})
    assert caught.value.problems[0].path == "task_list[1].criterion"


def test_everything_may_wait_for_metadata() -> None:
    task = {
        "task": "(requested_metadata['a']['kind'])",
        "requires_metadata_from": ["a"],
        "outputs": {"lightcurve": "(requested_metadata['a']['file'])"},
        "working_directory": "(requested_metadata['a']['where'])",
    }
    expand = expander(null(name="a"), task)
    _, spec = expand.children(expand.root("j", "w"))
    assert spec.pending
    assert spec.task_type is None
    full = expand.reconfigure(spec, {"a": {"kind": "synthesis_batman", "file": "x.gz", "where": "d"}})
    assert (full.task_type, full.working_directory, full.outputs) == ("synthesis_batman", "d", {"lightcurve": "x.gz"})
    for wrong in ({"kind": "nul"}, {"kind": 1}, {"file": "../x"}, {"file": 1}, {"where": "/"}, {"kind": "binning"}):
        given = {"kind": "synthesis_batman", "file": "x.gz", "where": "d", **wrong}
        with pytest.raises(ChainError):
            expand.reconfigure(spec, {"a": given})


def test_do_while() -> None:
    criterion = PASSED + " and (metadata['tda_loop_index'] < 3)"
    search = searches("x.gz", name="transit_detection", note="(metadata['tda_loop_index'])")
    task = repeat("tda_loop", criterion, search, requires_metadata_from_child=["transit_detection"])
    expand = expander(task)
    spec = only(expand)
    assert not spec.pending
    assert expand.reads_metadata(spec)
    assert expand.repeat_names(spec) == ("transit_detection",)
    passed = {"transit_detection": {"outcome": "PASS"}}
    for iteration in (1, 2):
        [chain] = expand.children(spec, iteration=iteration)
        assert (chain.address, chain.path) == (f"0.{iteration - 1}", "task_list[0]")
        assert chain.metadata == {"tda_loop_index": iteration}
        [child] = expand.children(chain)
        assert child.settings == {"note": iteration}
        assert expand.repeat(spec, iteration, passed)
    assert not expand.repeat(spec, 3, passed)
    assert not expand.repeat(spec, 1, {"transit_detection": {"outcome": "FAIL"}})
    with pytest.raises(MissingMetadataError):
        expand.repeat(spec, 1, None)
    with pytest.raises(ChainError):
        expand.repeat(spec, 1, {})


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        (null(note="(metadata['absent'])"), "task_list[0].task_list[0].note", "no key 'absent'"),
        (makes("'../{x}'.format(**metadata)"), "task_list[0].task_list[0].outputs.lightcurve", "leaves the file store"),
        (makes("(metadata['x'])"), "task_list[0].task_list[0].outputs.lightcurve", "must be a string"),
        ({"task": "'transit_search_{x}'.format(**metadata)"}, "task_list[0].task_list[0].task", "unknown task type"),
        ({"task": "(metadata['x'])"}, "task_list[0].task_list[0].task", "must be a string"),
        ({"task": "('execution_chain')"}, "task_list[0].task_list[0].task", "'task_list' is missing"),
        ({"task": "('verify')"}, "task_list[0].task_list[0]", "needs inputs.lightcurve"),
        (null(name="(1)"), "task_list[0].task_list[0].name", "must be a string"),
        (null(requires_metadata_from=["'a{x}'.format(**metadata)"]), "requires_metadata_from[0]", "named 'a1'"),
    ],
)
def test_faults_that_evaluation_shows(task: dict[str, Any], path: str, message: str) -> None:
    expand = expander(loop("x", [1], task))
    with pytest.raises(ChainError) as caught:
        leaves(expand, expand.root("j", "w"))
    [problem] = caught.value.problems
    assert path in problem.path
    assert message in problem.message
    assert problem.hint


def test_a_loop_whose_range_is_wrong() -> None:
    expand = expander(loop("x", ["(0)", 1, 3], null(), key="log_range"))
    with pytest.raises(ChainError) as caught:
        list(expand.children(only(expand)))
    assert caught.value.problems[0].path == "task_list[0]"
    expand = expander({**loop("x", [1], null()), "parameter": "('a b')"})
    with pytest.raises(ChainError) as caught:
        list(expand.children(only(expand)))
    assert caught.value.problems[0].path == "task_list[0].parameter"
