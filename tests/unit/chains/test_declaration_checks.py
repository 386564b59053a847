"""Settings that nothing reads, bad literal values and unknown inputs and outputs are found before anything runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eas.chains.grammar import parse_chain
from eas.chains.plan import plan
from eas.errors import ChainError, SettingsError
from eas.registry import builtin, merge_registries
from eas.tasks.settings import Group, Number

from .build import REGISTRY, bins, chain, loop, makes, null, planned, searches

THIRD = {"worker_type": "eas-base", "implementation": "somewhere:Third"}


def warnings(*tasks: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = planned(makes("a.gz"), *tasks).warnings
    return [(each.path, each.message, each.hint) for each in found]


@pytest.mark.parametrize(
    "task, path, message, hint",
    [
        (
            makes("b.gz", specs={"planet_raduis": 0.5}),
            "specs.planet_raduis",
            "unknown setting",
            "mean 'planet_radius'?",
        ),
        (makes("b.gz", spec={}), "spec", "unknown setting", "mean 'specs'?"),
        (makes("b.gz", specs=3), "specs", "is 3: the task would fail", "a dictionary of settings"),
        (makes("b.gz", specs={"eccentricity": 1}), "specs.eccentricity", "is 1: the task", "of at least 0 and below 1"),
        (makes("b.gz", specs={"noise": "loud"}), "specs.noise", "is 'loud': the task would fail", "give a number"),
        (makes("b.gz", specs={"noise": "0.1"}), "specs.noise", "is read as a number", "without quotes"),
        (searches("a.gz", search_settings={"qmin": 0.1}), "search_settings.qmin", "unknown setting", "period_min"),
        (searches("a.gz", search_settings={"period_min": 0.1}), "search_settings.period_min", "is 0.1", "above 0.2"),
        (bins("a.gz", "b.gz"), "", "the setting cadence is missing", "the task fails without it"),
        ({"task": "ingest_external_lcs", "lc_type": "cvs", "input_path": "*"}, "lc_type", "is 'cvs'", "lcsg, fits"),
        ({"task": "ingest_external_lcs", "input_path": " "}, "input_path", "is ' '", "give a text"),
        (loop("x", [1], null(), paramter="y"), "paramter", "unknown setting", "mean 'parameter'?"),
        (
            {"task": "execution_conditional", "criterion": True, "task_list": [], "else_task_lst": [null()]},
            "else_task_lst",
            "unknown setting",
            "mean 'else_task_list'?",
        ),
        (null(requires_metadata_form=["a"]), "requires_metadata_form", "unknown setting", "'requires_metadata_from'?"),
        ({"task": "(' ' 'null')", "duration": -1}, "duration", "is -1", "of at least 0"),
    ],
)
def test_what_is_warned_of(task: dict[str, Any], path: str, message: str, hint: str) -> None:
    (found,) = warnings(task)
    assert found[0] == ("task_list[1]." + path).rstrip(".")
    assert message in found[1] and hint in found[2]


@pytest.mark.parametrize(
    "task",
    [
        makes("b.gz", specs={"noise": None, "planet_radius": "(0.1 * 2)", "('t' + '0')": 1}),
        makes("b.gz", specs="({'t0': 2})"),
        makes("b.gz", specs=None),
        bins("a.gz", "b.gz", cadence="(600)"),
        bins("a.gz", "b.gz", **{"('cad' + 'ence')": 600}),
        searches("a.gz", lc_duration=3, search_settings={"period_min": 1, "period_max": 5}),
        {
            "task": "synthesis_psls",
            "outputs": {"lightcurve": "p.gz"},
            "specs": {"mode": "red_giant", "mask_updates": 1},
        },
        null(duration=0, inputs={"anything": "a.gz"}),
    ],
)
def test_what_is_not(task: dict[str, Any]) -> None:
    assert not warnings(task)


def test_a_name_at_the_top_of_the_file() -> None:
    (found,) = chain(null(), jobname="x").warnings
    assert (found.path, found.hint) == ("jobname", "did you mean 'job_name'?")


def test_many_odd_settings_cost_little() -> None:
    odd = {f"odd_{number}": 1 for number in range(100_000)}
    assert len(warnings(null(**odd))) == 50


@pytest.mark.parametrize(
    "task, path, hint",
    [
        (searches("a.gz", outputs={"debuging": "d"}), "outputs.debuging", "did you mean 'debugging'? its outputs are"),
        (makes("b.gz", inputs={"lightcurve": "a.gz"}), "inputs.lightcurve", "it has no inputs"),
        (
            {**bins("a.gz", "b.gz", cadence=600), "inputs": {"lightcurve": "a.gz", "mask": "a.gz"}},
            "inputs.mask",
            "its inputs are lightcurve",
        ),
        (
            {**searches("a.gz"), "outputs": {"('debug')": "d"}},
            "outputs.debug",
            "did you mean 'debugging'?",
        ),
    ],
)
def test_inputs_and_outputs_that_a_type_does_not_have(task: dict[str, Any], path: str, hint: str) -> None:
    with pytest.raises(ChainError) as caught:
        planned(makes("a.gz"), task)
    (found,) = caught.value.problems
    assert found.path == f"task_list[1].{path}"
    assert hint in found.hint


def test_a_job_submitted_before_still_runs() -> None:
    """Its chain is parsed again by the process that drives it, and is not refused then."""
    stored = chain(makes("a.gz"), searches("a.gz", outputs={"debuging": "d"}))
    assert len(stored.submission_problems) == 1


def third(**fields: Any) -> Any:
    registry = merge_registries([("builtin", builtin()), ("third", {"task_types": {"third": {**THIRD, **fields}}})])
    task = {"task": "third", "depht": 1, "more": {"x": -1}, "inputs": {"any": "a"}, "outputs": {"other": "b"}}
    text = json.dumps({"task_list": [makes("a"), task]})
    return plan(parse_chain(text, "third.json", registry), registry, "1", job_name="j", working_directory="w")


def test_a_type_without_a_declaration_is_accepted_as_before() -> None:
    assert not third().warnings
    assert not third(inputs=["any"]).warnings


def test_a_type_of_a_third_party_declares_its_settings() -> None:
    settings = [Number("depth"), Group("more", (Number("x", low=0),))]
    found = third(settings=settings, optional_inputs=["any"], outputs=["other"]).warnings
    assert [(each.path, each.hint) for each in found] == [
        ("task_list[1].depht", "did you mean 'depth'?"),
        ("task_list[1].more.x", "give a number of at least 0"),
    ]
    with pytest.raises(ChainError, match=r"third has no inputs\.any"):
        third(settings=settings, outputs=["other"])
    named = third(settings="eas.tasks.declarations:NULL", any_files=True).warnings
    assert [each.path for each in named] == ["task_list[1].depht", "task_list[1].more"]


@pytest.mark.parametrize("place", ["nowhere:NAME", "eas.tasks.declarations:NOWHERE", "eas.tasks.declarations:__doc__"])
def test_a_declaration_that_is_none(place: str) -> None:
    with pytest.raises(SettingsError, match="the settings of task type third"):
        third(settings=place, any_files=True)


def test_every_type_that_runs_declares_its_settings() -> None:
    types = [each for each in REGISTRY.task_types.values() if each.implementation]
    assert types and all(each.declared_settings() is not None for each in types)
