"""How many workers pay off: what must hold for any load, and what people would expect of some."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas.control.scaling import Load, decide
from eas.errors import RequestError

counts = st.integers(0, 300)
walls = st.floats(0.001, 1e5)


@st.composite
def loads(draw: st.DrawFn) -> tuple[Load, float]:
    """A load whose numbers fit together, and how long each of its tasks takes [s]."""
    workers, wall, queued = draw(counts), draw(walls), draw(counts)
    load = Load(
        "eas-base",
        queued=queued,
        oldest=draw(st.floats(0, 1e5)) if queued else None,
        running=draw(st.integers(0, workers)),
        workers=workers,
        idle=draw(st.integers(0, workers)),
        starting=draw(counts),
        seconds=queued * wall,
    )
    return load, wall


def start(load: Load, minimum: int = 0, maximum: int = 10_000, startup: float = 15.0) -> int:
    (decision,) = decide([load], minimum, maximum, startup=startup)
    return decision.start


@given(loads(), st.integers(0, 50), st.integers(0, 50))
def test_never_above_the_maximum_and_never_below_the_minimum(
    drawn: tuple[Load, float], minimum: int, more: int
) -> None:
    load, maximum = drawn[0], minimum + more
    there = load.workers + load.starting
    count = start(load, minimum, maximum)
    assert count >= 0
    assert there + count >= minimum
    assert there + count <= max(maximum, there)


@given(loads(), st.integers(0, 50))
def test_nothing_that_waits_starts_nobody(drawn: tuple[Load, float], maximum: int) -> None:
    assert start(replace(drawn[0], queued=0, seconds=0.0, oldest=None), 0, maximum) == 0


@given(loads(), st.integers(0, 50), st.integers(0, 50), counts)
def test_more_that_waits_never_starts_fewer(drawn: tuple[Load, float], minimum: int, more: int, extra: int) -> None:
    load, wall = drawn
    deeper = replace(load, queued=load.queued + extra, seconds=(load.queued + extra) * wall)
    assert start(deeper, minimum, minimum + more) >= start(load, minimum, minimum + more)


@given(loads())
def test_never_more_than_wait_and_those_that_are_starting_count(drawn: tuple[Load, float]) -> None:
    load = drawn[0]
    count = start(load)
    assert count <= load.queued
    assert start(replace(load, starting=load.starting + count)) == 0


@pytest.mark.parametrize(
    ("load", "expected", "words"),
    [
        (Load("w", queued=1, seconds=0.1, oldest=0.0), 1, "1 wait"),
        (Load("w", queued=100, seconds=1.0, oldest=1.0, workers=1), 0, "worth 0"),
        (Load("w", queued=100, seconds=1.0, oldest=60.0, workers=1), 1, "the first for 60 s"),
        (Load("w", queued=100, seconds=150.0, oldest=1.0, workers=1), 4, "start 4 of 10, the most there may be"),
        (Load("w", queued=4, seconds=4000.0, oldest=1.0, workers=2, idle=1), 3, "start 3"),
        (Load("w", queued=4, seconds=4000.0, oldest=1.0, starting=4), 0, "4 starting"),
        (Load("w", paused=("null",), held_back=7), 0, "nothing waits; 7 more in paused queues (null)"),
    ],
)
def test_what_people_would_expect(load: Load, expected: int, words: str) -> None:
    (decision,) = decide([load], 0, 5)
    assert decision.start == expected
    assert words in decision.reason
    assert decision.to_json()["start"] == expected


def test_the_least_there_shall_be_is_said() -> None:
    (decision,) = decide([Load("w")], 2, 5)
    assert (decision.start, "the least there shall be" in decision.reason) == (2, True)


@pytest.mark.parametrize(("minimum", "maximum"), [(3, 2), (-1, 2)])
def test_limits_that_contradict_each_other_are_refused(minimum: int, maximum: int) -> None:
    with pytest.raises(RequestError, match="is no choice"):
        decide([], minimum, maximum)
