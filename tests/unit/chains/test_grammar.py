"""Chains are read strictly: each fault is named with its place and its hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from broken_chains.cases import CASES, FOLDER, MISSING_PRODUCERS
from hypothesis import given
from hypothesis import strategies as st

from eas.chains.expansion import Expander
from eas.chains.grammar import load_chain, parse_chain
from eas.chains.paths import check_relative_path, descriptor_at
from eas.chains.plan import plan
from eas.errors import ChainError, Problem, RequestError, StorePathError

from .build import REGISTRY, campaign_chain, chain, either, loop, null, planned, reads, repeat


def faults(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(ChainError) as caught:
        plan(load_chain(path, REGISTRY), REGISTRY, "1", job_name="j", working_directory="w")
    assert caught.value.source == str(path)
    assert caught.value.exit_code == 2
    return caught.value.problems


@pytest.mark.parametrize(("name", "place", "fragment"), CASES, ids=[case[0] for case in CASES])
def test_broken_chains(name: str, place: str, fragment: str) -> None:
    problems = faults(FOLDER / name)
    assert all(problem.hint and problem.message for problem in problems)
    texts = [str(problem) for problem in problems]
    assert any(text.startswith(f"{place}: ") and fragment in text for text in texts), texts
    assert len(problems) == 1, texts


def test_table_is_complete() -> None:
    assert {name for name, _, _ in CASES + MISSING_PRODUCERS} == {path.name for path in FOLDER.glob("*.json")}
    assert len(CASES) >= 40


def test_missing_producer_is_an_external_input() -> None:
    [(name, path, file_name)] = MISSING_PRODUCERS
    found = plan(load_chain(FOLDER / name, REGISTRY), REGISTRY, "1", job_name="j", working_directory="w")
    assert [(each.path, each.file_name) for each in found.external] == [(path, file_name)]


def test_all_problems_are_reported() -> None:
    tasks: list[dict[str, Any]] = [
        {"task": "nul"},
        reads("/x", a="(x)"),
        {"task": "execution_for_loop", "parameter": "a b", "values": [1], "log_range": [1, 2, 3]},
    ]
    with pytest.raises(ChainError) as caught:
        chain(*tasks, job_name=5)
    assert {problem.path for problem in caught.value.problems} == {
        "job_name",
        "task_list[0].task",
        "task_list[1].inputs.lightcurve",
        "task_list[1].a",
        "task_list[2]",
        "task_list[2].parameter",
    }


def test_a_descriptor_is_found_at_its_path() -> None:
    tasks = [loop("x", [1], null(duration=1), null(duration=2)), either(True, [null(duration=3)], [null(duration=4)])]
    known = chain(*tasks, repeat("i", False, null(duration=5)))
    for path, node in known.nodes.items():
        found = descriptor_at(known.text, path)
        assert found.get("task", "execution_chain") == node.task.value
        assert found.get("duration") == node.settings.value.get("duration")
    assert len(known.nodes) == 9
    assert descriptor_at(known.text, "") == json.loads(known.text)
    for absent in ("task_list[7]", "task_list.task_list", "else_task_list[0]"):
        assert descriptor_at(known.text, absent) is None
    assert descriptor_at('{"task_list": [', "task_list[0]") is None


def test_thousands_of_problems_are_shortened() -> None:
    with pytest.raises(ChainError) as caught:
        chain(*[{"task": "nul"}] * 1000)
    assert len(caught.value.problems) == 51
    assert "950 further" in caught.value.problems[-1].message


def test_what_a_chain_knows(tmp_path: Path) -> None:
    text = '\ufeff{"job_name": "j", "working_directory": "a/b", "anything": 1, "task_list": []}'
    path = tmp_path / "chain.json"
    path.write_text(text, encoding="utf-8")
    found = load_chain(path, REGISTRY)
    assert found.source == str(path)
    assert Expander(found, REGISTRY, "1").names() == ("j", "a/b")
    assert found.text == text[1:]
    assert Expander(chain(), REGISTRY, "1").names() == (None, None)
    assert parse_chain(text, "x", REGISTRY).nodes == found.nodes


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json", Path("a\0b")):
        with pytest.raises(RequestError) as caught:
            load_chain(path)
        assert caught.value.exit_code == 2
        assert caught.value.hint


def test_settings_are_free() -> None:
    planned(null(specs={"a": [1, None, {"b": True}]}, duration=0, task_kind="x", **{"odd key": "text"}))
    planned(null(name="(str(1))", outputs={"a": "x.gz"}))
    planned({"task": "transit_search_tls", "inputs": {"lightcurve": "a.gz"}, "search_settings": {"period_min": 90}})


def test_user_files_as_they_are() -> None:
    planned(campaign_chain(sizes=3))
    planned(loop("size", ["(constants.Rearth / 4)", "(constants.Rearth * 4)", 10], null(), key="log_range"))
    planned(loop("lc", ["(3 * constants.month)", "(constants.year)"], null()))


def test_names_that_are_expressions_are_checked_later() -> None:
    chain(null(name="'a{x}'.format(**metadata)"), null(requires_metadata_from=["b"]))
    planned(loop("x", ["b"], null(name="'a{x}'.format(**metadata)"), null(requires_metadata_from=["ab"])))


@pytest.mark.parametrize(
    "text", ["a", "a.gz", "a/b/c.gz", "a b", "a..b", ".a", "ä", "x" * 255, "a/.versionsx", "...", "a:b"]
)
def test_paths_in_the_store(text: str) -> None:
    check_relative_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "/a", "..", "a/..", "../a", "a//b", "a/", ".", "./a", "a/./b", "a\\b", "a\0", "a\nb", "a\x7f",
        ".versions", "a/.versions/b", ".staging/x", "x" * 256, "ä" * 128, "a/" * 250 + "ab", "\ud800",
    ],
)  # fmt: skip
def test_paths_that_are_refused(text: str) -> None:
    with pytest.raises(StorePathError) as caught:
        check_relative_path(text)
    assert caught.value.hint


@given(st.text("ab./\\\0", max_size=12))
def test_accepted_paths_stay_inside(text: str) -> None:
    try:
        check_relative_path(text)
    except StorePathError:
        return
    assert Path("/store").joinpath(text).resolve().is_relative_to("/store")
    assert ".." not in Path(text).parts


WORDS = st.sampled_from(["null", "(1)", "verify", "execution_for_loop", "'a'", "x"])
KEYS = st.sampled_from(["task", "task_list", "name", "inputs", "outputs", "values", "parameter"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@given(JSON)
def test_any_document_is_a_chain_or_a_chain_error(document: Any) -> None:
    try:
        found = parse_chain(json.dumps({"task_list": [document]}), "x", REGISTRY)
        plan(found, REGISTRY, "1", job_name="j", working_directory="w")
    except ChainError as error:
        assert all(problem.hint for problem in error.problems)


@given(st.text(max_size=40, alphabet='{}[]",:1ae\\ \n'))
def test_any_text_is_a_chain_or_a_chain_error(text: str) -> None:
    with pytest.raises(ChainError) as caught:
        parse_chain(text, "x", REGISTRY)
    assert caught.value.problems
