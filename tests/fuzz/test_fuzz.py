"""Each target of the fuzzer, for some seconds: 30 s in all. ``make fuzz`` takes longer."""

from __future__ import annotations

import pytest

from tests.fuzz.run import TARGETS, fuzz

SECONDS = 30


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_random_input_is_read_or_refused(name: str) -> None:
    assert fuzz(name, SECONDS / len(TARGETS), seed=1) >= 100
