"""Runs a target for some time on examples that hypothesis makes from a seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import hypothesis
from hypothesis import HealthCheck
from hypothesis import strategies as st

from tests.fuzz import expressions, light_curves, saved_files

TARGETS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]] = {
    "expressions": (expressions.STRATEGY, expressions.check),
    "light curves": (light_curves.STRATEGY, light_curves.check),
    "saved databases": (saved_files.STRATEGY, saved_files.check),
}
"""What is fuzzed: how examples are made, and what is checked of each."""
_BATCH = 200


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Check examples of target ``name`` for ``seconds``; return how many. A failure is raised, with its example."""
    strategy, check = TARGETS[name]
    ends = time.monotonic() + seconds
    tried = 0

    def one(example: Any) -> None:
        nonlocal tried
        tried += 1
        check(example)

    for batch in count():
        test = hypothesis.given(strategy)(one)
        bounded = hypothesis.settings(
            max_examples=_BATCH, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )(test)
        hypothesis.seed(1000 * seed + batch)(bounded)()
        if time.monotonic() > ends:
            return tried
    raise AssertionError
