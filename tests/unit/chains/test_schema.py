"""The JSON Schema and the grammar agree, on the files of the repository and on what random faults make of them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from eas.chains import json_reader
from eas.chains.grammar import parse_chain
from eas.chains.schema import chain_schema
from eas.errors import ChainError
from eas.registry import builtin, merge_registries
from eas.tasks.settings import Number
from tests.unit.broken_chains.cases import CASES, FOLDER

from .build import REGISTRY, bins, campaign_chain, either, loop, makes, null, reads, repeat, searches

ROOT = Path(__file__).parents[3]
PLAIN, STRICT = (Draft202012Validator(chain_schema(REGISTRY, strict=strict)) for strict in (False, True))
WEAKER = re.compile(
    r"no (earlier task of this task_list|child of this loop) is named|the task .* comes later|reads requested_metadata|"
    r"reads the metadata of|reads '.*' of '.*', which .* does not return|"
    r"expression ['\"]|'.*' uses a reserved directory of the file store|"
    r"'.*' has an empty component|"
    r"(log|linear)_range\[\d\] is (a string|'.*'), which is no|'.*' is not a valid name in expressions|"
    r"strings that are numbers|and \d+ further problems"
)
"""What the schema's comment says that it does not check, as the grammar words it."""


def verdict(document: Any) -> tuple[list[str], list[str]]:
    """Return what the grammar refuses, and what it warns of."""
    try:
        chain = parse_chain(json.dumps(document), "a.json", REGISTRY)
    except ChainError as error:
        return [each.message for each in error.problems], []
    return [each.message for each in chain.submission_problems], [each.message for each in chain.warnings]


def agree(document: Any) -> None:
    refused, warned = verdict(document)
    for validator, faults in ((PLAIN, refused), (STRICT, [*refused, *warned])):
        found = [f"{each.json_path}: {each.message[:200]}" for each in validator.iter_errors(document)]
        if not faults:
            assert not found, "the schema refuses what the grammar accepts"
        elif not found:
            assert all(map(WEAKER.match, faults)), "the schema accepts what the grammar refuses"


def demo_jobs() -> list[Path]:
    return sorted((ROOT / "demo_jobs").rglob("*.json"))


def test_the_schemas_are_schemas() -> None:
    for validator in (PLAIN, STRICT):
        Draft202012Validator.check_schema(validator.schema)
    assert "Weaker" in PLAIN.schema["$comment"]


@pytest.mark.parametrize("path", demo_jobs(), ids=lambda path: path.stem)
def test_demo_jobs(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    if "task_list" in document:
        assert not list(PLAIN.iter_errors(document))
        agree(document)


def broken() -> list[str]:
    names = []
    for name, _, _ in CASES:
        text, problems = json_reader.decode((FOLDER / name).read_bytes())
        if not problems and not json_reader.read(text)[1]:
            names.append(name)
    return names


@pytest.mark.parametrize("name", broken())
def test_broken_chains(name: str) -> None:
    agree(json.loads((FOLDER / name).read_text(encoding="utf-8")))


def test_most_structural_faults_are_the_schema_s() -> None:
    refused = [name for name in broken() if not PLAIN.is_valid(json.loads((FOLDER / name).read_text(encoding="utf-8")))]
    assert len(refused) >= 30


WORDS = [
    "task",
    "task_list",
    "lightcurve",
    "null",
    " null ",
    "(1)",
    "'a'",
    "",
    " ",
    "..",
    "a/../b",
    "/a",
    "3",
    "x",
    "verify",
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from([0.5, 1e300, -1e301, 2.0]), st.sampled_from(WORDS)
)
BASES: list[dict[str, Any]] = [
    {"task_list": [campaign_chain()]},
    {
        "job_name": "j",
        "working_directory": "d",
        "task_list": [
            makes("a.gz", specs={"noise": 0.1, "planet_radius": "(0.5)"}, name="one"),
            bins("a.gz", "b.gz", cadence=600),
            loop("x", [1, 2], searches("b.gz", lc_duration=3, search_settings={"period_min": 1}), null(duration=1)),
            loop("y", [1, 2, 3], reads("a.gz"), key="log_range"),
            either("(True)", [null()], [null()]),
            repeat("i", "(False)", null(name="c"), requires_metadata_from_child=["c"]),
            {"task": "ingest_external_lcs", "input_path": "*.csv", "lc_type": "fits"},
            {"task": "('null')", "task_list": [null()]},
            makes("p.gz", task="synthesis_psls", specs={"mode": "red_giant", "number_camera_groups": 2}),
        ],
    },
]
KEYS = sorted(
    {key for base in BASES for key in re.findall(r'"(\w+)":', json.dumps(base))}
    | {"else_task_list", "linear_range", "requires_metadata_from", "inputs ", "(1)", "debugging", "impact_parameter"}
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return each container with each of its keys or indices."""
    keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [(node, key) for key in keys] + [each for key in keys for each in places(node[key])]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_faults(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(BASES)))
    for _ in range(data.draw(st.integers(0, 2))):
        found = places(document)
        if not found:
            break
        holder, key = found[data.draw(st.integers(0, len(found) - 1))]
        fault = data.draw(st.sampled_from(["replace", "delete", "rename", "add"]))
        if fault == "replace":
            holder[key] = data.draw(VALUES)
        elif fault == "delete":
            del holder[key]
        elif isinstance(holder, dict):
            value = holder.pop(key) if fault == "rename" else data.draw(VALUES)
            holder[data.draw(st.sampled_from(KEYS))] = value
    agree(document)


def test_types_of_third_parties_are_in_it() -> None:
    third = {
        "worker_type": "eas-base",
        "implementation": "a:B",
        "outputs": ["it"],
        "settings": [Number("depth", low=0)],
    }
    open_type = {"worker_type": "eas-base", "implementation": "a:C"}
    registry = merge_registries([("builtin", builtin()), ("x", {"task_types": {"third": third, "open": open_type}})])
    strict = Draft202012Validator(chain_schema(registry, strict=True))
    good = {"task": "third", "outputs": {"it": "a"}, "depth": 1}
    assert strict.is_valid({"task_list": [good, {"task": "open", "anything": 1, "inputs": {"x": "a"}}]})
    for bad in ({"depth": -1}, {"dept": 1}, {"outputs": {}}, {"outputs": {"it": "a", "other": "b"}}):
        assert not strict.is_valid({"task_list": [good | bad]})
        assert not PLAIN.is_valid({"task_list": [good]})


def test_the_schema_has_names_defaults_and_units() -> None:
    text = json.dumps(PLAIN.schema)
    assert '"planet_radius": {"description": "[Jupiter radii]", "default": 1}' in text
    assert "the light curve that is searched" in text and "tar.gz of `settings.json`" in text
    rules = PLAIN.schema["$defs"]["task"]["allOf"]
    (verify,) = (each["then"] for each in rules if "verify" in json.dumps(each["if"]) and "description" in each["then"])
    assert verify["description"].startswith("verify: reports the range of a light curve")
    assert "Returns verification_time_min [days], verification_time_max [days]" in verify["description"]
    assert '"synthesis_psls"' in text and "transit_search_dst_v26" not in text


@pytest.mark.parametrize("strict", [False, True])
def test_the_published_files_are_current(strict: bool) -> None:
    """Write them again with `eas schema > docs/chain.schema.json`, and with --strict."""
    path = ROOT / "docs" / ("chain.strict.schema.json" if strict else "chain.schema.json")
    assert json.loads(path.read_text(encoding="utf-8")) == chain_schema(REGISTRY, strict=strict)
