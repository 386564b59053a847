"""Random expressions of costly pieces: each gives a value of JSON or is refused, within 50 ms of CPU time."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import strategies as st

from eas.chains import expressions
from eas.chains.evaluator import Scope
from eas.chains.functions import FUNCTIONS, RANDOM
from eas.errors import ExpressionError

MAX_CPU = 0.05
"""Longest that one evaluation may take [s of CPU time]."""
SCOPE = Scope(
    {f"{'abcdefgh' * 7}{i:04d}": i for i in range(300)} | {"x": 1, "y": 0.5, "s": "a" * 3000, "t": "\u00e9[/b]"},
    {"t": {"a": 1, "b": "x" * 500}},
    "seed",
)
_ATOMS = st.sampled_from(
    [
        *("0", "1", "-1", "7", "100", "3000", "2**61-1", "2**4000", "1.5", "1e300", "5e-324", "True", "None", "pi"),
        *("''", "'a'", "'b'", "'\\ud800'", "'\\x00'", "'{}'", "'{x}'", "'{x:>9}'", "'%s'", "'%d'", "'%9.3f'", "'%%'"),
        *("metadata", "metadata['x']", "metadata['s']", "requested_metadata['t']", "x", "y", "[]", "()", "{}"),
    ]
)
_NAMES = st.sampled_from(sorted(FUNCTIONS))
_BINARY = st.sampled_from(
    [*"+-*/%&|^", "//", "**", "<<", ">>", "==", "<", " in ", " not in ", " and ", " or ", " is "],
)


def evaluate(expression: str, scope: Scope, where: str = "") -> Any:
    """Check an expression and return its value."""
    return expressions.evaluate_checked(expression, expressions.check(expression), scope, where)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=0, max_size=4)
    times = st.sampled_from([1, 9, 90, 900, 2400, 9000])
    return st.one_of(
        st.builds("({}{}{})".format, inner, _BINARY, inner),
        st.builds("({}*{})".format, inner, times),
        st.builds("{}({})".format, _NAMES, several.map(",".join)),
        st.builds("random.{}({})".format, st.sampled_from(sorted(RANDOM)), several.map(",".join)),
        st.builds("({}).format({},x={})".format, inner, inner, inner),
        st.builds("({}).format(**metadata)".format, inner),
        st.builds("[{} for x in {}]".format, inner, inner),
        st.builds("[{} for x in range({}) if {}]".format, inner, times, inner),
        st.builds("[{} for x in {} for y in {}]".format, inner, inner, inner),
        st.builds("{{{}: {} for x in range({})}}".format, inner, inner, times),
        st.builds("{{**{}, {}: {}}}".format, inner, inner, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("{}[{}:{}:{}]".format, inner, inner, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("map({},{})".format, _NAMES, inner),
        st.builds("{}({},key={})".format, st.sampled_from(["sorted", "min", "max"]), inner, _NAMES),
        several.map(lambda parts: "[" + ",".join(parts) + "]"),
    )


STRATEGY = st.recursive(_ATOMS, _compound, max_leaves=12).map("({})".format)


def cpu_of_evaluation(expression: str) -> float:
    """Evaluate ``expression``, check its value, and return the CPU time [s]."""
    started = time.thread_time()
    try:
        value = evaluate(expression, SCOPE, "where")
    except ExpressionError:
        return time.thread_time() - started
    spent = time.thread_time() - started
    json.dumps(value, allow_nan=False).encode()
    json.dumps(value, ensure_ascii=False).encode()
    return spent


def check(expression: str) -> None:
    """Fail if ``expression`` takes too long, twice, or does anything but give a value or be refused."""
    assert cpu_of_evaluation(expression) < MAX_CPU or cpu_of_evaluation(expression) < MAX_CPU, expression
