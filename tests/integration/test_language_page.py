"""The page of the chain language: its valid examples run, broken ones are refused with the message shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import eas
from tests import language_examples
from tests.language_examples import PAGE, examples, message_of, use_empty_system, with_messages
from tests.processes import LIMIT


@pytest.fixture(autouse=True)
def empty_system(tmp_path: Path) -> None:
    use_empty_system(tmp_path)


def test_messages_are_those_of_today() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_messages(text), f"write them again: python -m {language_examples.__name__}"


def test_valid_examples_are_valid_and_broken_ones_are_not() -> None:
    broken = [chain for chain, message in examples(PAGE.read_text(encoding="utf-8")) if message]
    valid = [chain for chain, message in examples(PAGE.read_text(encoding="utf-8")) if not message]
    assert len(broken) >= 8
    assert len(valid) >= 8
    assert all(message_of(chain) for chain in broken)
    assert [eas.validate(chain, strict=True) for chain in valid] == [[]] * len(valid)


def test_a_change_of_a_message_is_noticed() -> None:
    text = PAGE.read_text(encoding="utf-8").replace("unknown task type", "other task type")
    assert text != with_messages(text)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
def test_valid_examples_run() -> None:
    for chain, message in examples(PAGE.read_text(encoding="utf-8")):
        if not message:
            summary = eas.submit(chain, seed=1).run(workers=1)
            assert summary.succeeded, (chain, summary.failures)
