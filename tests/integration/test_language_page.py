"""The page of the chain language: valid examples run; errors, warnings and failures are those that it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

import eas
from eas.chains.functions import CONSTANTS
from eas.model import CONTROL_TASKS
from eas.registry import builtin, merge_registries
from tests import language_examples
from tests.language_examples import (
    OUTCOME,
    PAGE,
    WARNING,
    examples,
    message_of,
    outcome_of,
    runs,
    use_empty_system,
    with_messages,
)
from tests.processes import MAX_TIMEOUT


@pytest.fixture(autouse=True)
def empty_system(tmp_path: Path) -> None:
    use_empty_system(tmp_path)


def test_messages_are_those_of_today() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_messages(text), f"write them again: python -m {language_examples.__name__}"


def test_valid_examples_are_valid_and_broken_ones_are_not() -> None:
    seen = {True: 0, False: 0}
    for chain, text in examples(PAGE.read_text(encoding="utf-8")):
        message = message_of(chain)
        assert runs(message) == runs(text), chain
        assert message.startswith(WARNING) == text.startswith(WARNING), chain
        seen[runs(text)] += 1
    assert seen[True] >= 20
    assert seen[False] >= 15


def test_a_change_of_a_message_is_noticed() -> None:
    text = PAGE.read_text(encoding="utf-8").replace("unknown task type", "other task type")
    assert text != with_messages(text)


def test_each_task_type_and_each_key_of_the_language_has_an_example() -> None:
    text = "".join(str(chain) for chain, message in examples(PAGE.read_text(encoding="utf-8")) if runs(message))
    registry = merge_registries([("builtin", builtin())])
    types = {each.name for each in registry.task_types.values() if each.implementation} | CONTROL_TASKS
    written = {each for each in types if each in text or each.removeprefix("transit_search_") in text}
    assert types == written
    keys = ("job_name", "working_directory", "name", "inputs", "outputs", "requires_metadata_from", "parameter",
            "values", "linear_range", "log_range", "criterion", "else_task_list", "iteration_name", "repeat_criterion",
            "requires_metadata_from_child")  # fmt: skip
    assert [each for each in keys if f"'{each}'" not in text] == []
    page = PAGE.read_text(encoding="utf-8")
    assert [each for each in CONSTANTS if f"`{each}`" not in page] == []


@pytest.mark.slow
@pytest.mark.timeout(MAX_TIMEOUT)
def test_valid_examples_run(tmp_path: Path) -> None:
    psls_data = pytest.importorskip("eas.tasks.psls_data")
    psls_data.fetch()
    stars = tmp_path / "input" / "stars"
    stars.mkdir(parents=True)
    (stars / "one.csv").write_text("# #orbital_period=3\n0,1,0\n1,1,0\n2,1,0\n")
    for chain, text in examples(PAGE.read_text(encoding="utf-8")):
        if not runs(text):
            continue
        summary = eas.submit(chain, seed=1).run(workers=1)
        assert summary.succeeded == ("would fail" not in text and not text.startswith(OUTCOME)), (chain, summary)
        if text.startswith(OUTCOME):
            assert outcome_of(summary) == text
