"""How many workers pay off: what must hold for any load, and what an operator expects of some."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas.errors import RequestError
from eas.orchestration.scaling import FULL_BACKOFF, CapacityMemory, WorkerTypeLoad, decide

counts = st.integers(0, 300)
walls = st.floats(0.001, 1e5)


@st.composite
def loads(draw: st.DrawFn) -> tuple[WorkerTypeLoad, float]:
    """A load whose numbers fit together, and how long each of its tasks takes [s]."""
    workers, wall, queued = draw(counts), draw(walls), draw(counts)
    load = WorkerTypeLoad(
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


def start(
    load: WorkerTypeLoad, minimum: int = 0, maximum: int = 10_000, startup: float = 15.0, pending: int = 1_000_000
) -> int:
    (decision,) = decide([load], minimum, maximum, startup=startup, pending=pending)
    return decision.start


@given(loads(), st.integers(0, 50), st.integers(0, 50))
def test_never_above_the_maximum_and_never_below_the_minimum(
    drawn: tuple[WorkerTypeLoad, float], minimum: int, more: int
) -> None:
    load, maximum = drawn[0], minimum + more
    there = load.workers + load.starting
    count = start(load, minimum, maximum)
    assert count >= 0
    assert there + count >= minimum
    assert there + count <= max(maximum, there)


@given(loads(), st.integers(0, 50))
def test_nothing_that_waits_starts_nobody(drawn: tuple[WorkerTypeLoad, float], maximum: int) -> None:
    assert start(replace(drawn[0], queued=0, seconds=0.0, oldest=None), 0, maximum) == 0


@given(loads(), st.integers(0, 50), st.integers(0, 50), counts)
def test_more_that_waits_never_starts_fewer(
    drawn: tuple[WorkerTypeLoad, float], minimum: int, more: int, extra: int
) -> None:
    load, wall = drawn
    deeper = replace(load, queued=load.queued + extra, seconds=(load.queued + extra) * wall)
    assert start(deeper, minimum, minimum + more) >= start(load, minimum, minimum + more)


@given(loads())
def test_never_more_than_wait_and_those_that_are_starting_count(drawn: tuple[WorkerTypeLoad, float]) -> None:
    load = drawn[0]
    count = start(load)
    assert count <= load.queued
    assert start(replace(load, starting=load.starting + count)) == 0


@pytest.mark.parametrize(
    ("load", "expected", "words"),
    [
        (WorkerTypeLoad("w", queued=1, seconds=0.1, oldest=0.0), 1, "1 queued"),
        (WorkerTypeLoad("w", queued=100, seconds=1.0, oldest=1.0, workers=1), 0, "justifies 0"),
        (WorkerTypeLoad("w", queued=100, seconds=1.0, oldest=60.0, workers=1), 1, "the oldest for 60 s"),
        (WorkerTypeLoad("w", queued=100, seconds=150.0, oldest=1.0, workers=1), 4, "starting 4 of 10 (maximum)"),
        (WorkerTypeLoad("w", queued=4, seconds=4000.0, oldest=1.0, workers=2, idle=1), 3, "starting 3"),
        (WorkerTypeLoad("w", queued=4, seconds=4000.0, oldest=1.0, starting=4), 0, "4 starting"),
        (
            WorkerTypeLoad("w", queued=9, seconds=900.0, oldest=1.0, starting=3),
            1,
            "starting 1 of 6 (others are starting)",
        ),
        (
            WorkerTypeLoad("w", queued=300, unmeasured=300, oldest=1.0),
            1,
            "300 tasks of unknown duration; justifies 1 workers",
        ),
        (WorkerTypeLoad("w", queued=300, unmeasured=300, oldest=99.0, starting=1), 0, "justifies 1 workers"),
        (
            WorkerTypeLoad("w", queued=9, seconds=900.0, oldest=90.0, starting=3, stuck=3),
            0,
            "3 of them without room; taking 2 back",
        ),
        (
            WorkerTypeLoad("w", starting=3, stuck=2),
            0,
            "nothing queued; 0 alive, 0 idle, 3 starting, 2 of them without room; taking 2",
        ),
        (WorkerTypeLoad("w", paused=("null",), held_back=7), 0, "nothing queued; 7 more in paused queues (null)"),
    ],
)
def test_what_an_operator_expects(load: WorkerTypeLoad, expected: int, words: str) -> None:
    (decision,) = decide([load], 0, 5)
    assert decision.start == expected
    assert words in decision.reason
    assert decision.to_json()["start"] == expected


def test_the_minimum_is_named_as_the_reason() -> None:
    (decision,) = decide([WorkerTypeLoad("w")], 2, 5)
    assert (decision.start, "starting 2 (minimum)" in decision.reason) == (2, True)


@pytest.mark.parametrize(("minimum", "maximum"), [(3, 2), (-1, 2)])
def test_limits_that_contradict_each_other_are_refused(minimum: int, maximum: int) -> None:
    with pytest.raises(RequestError, match="contradict each other"):
        decide([], minimum, maximum)


# -- several worker types share the room --------------------------------------------------------------


def starts(*loads: WorkerTypeLoad, pending: int = 4, maximum: int = 8) -> dict[str, tuple[int, int]]:
    return {each.worker_type: (each.start, each.cancel_stuck) for each in decide(loads, 0, maximum, pending=pending)}


def test_room_goes_by_work_waiting_and_everybody_gets_some() -> None:
    large = WorkerTypeLoad("large", queued=1000, seconds=10_000.0, oldest=1.0)
    small = WorkerTypeLoad("small", queued=30, seconds=60.0, oldest=1.0)
    assert starts(large, small) == {"large": (3, 0), "small": (1, 0)}


def test_workers_that_nobody_needs_make_way_for_those_that_are_needed() -> None:
    """Six workers wait for room although their queue is empty by now, and another type's tasks wait behind them."""
    gone = WorkerTypeLoad("psls", starting=6, stuck=6)
    needed = WorkerTypeLoad("bls", queued=50, seconds=200.0, oldest=100.0)
    assert starts(gone, needed) == {"psls": (0, 6), "bls": (1, 0)}


def test_on_a_full_cluster_one_worker_waits_for_room() -> None:
    large = WorkerTypeLoad(
        "large", queued=1000, seconds=10_000.0, oldest=1.0, workers=6, running=6, starting=4, stuck=4
    )
    small = WorkerTypeLoad("small", queued=30, seconds=60.0, oldest=99.0, starting=1, stuck=1)
    assert starts(large, small) == {"large": (0, 4), "small": (0, 0)}
    assert starts(large) == {"large": (0, 3)}


def test_more_may_start_at_a_time_where_more_are_alive() -> None:
    load = WorkerTypeLoad("w", queued=1000, seconds=1e6, oldest=1.0, workers=20, running=20)
    assert starts(load, maximum=100) == {"w": (20, 0)}


def test_a_cluster_that_was_full_is_tried_with_one_worker_for_some_time() -> None:
    memory = CapacityMemory()
    stuck = WorkerTypeLoad("w", queued=1000, seconds=1e6, oldest=1.0, workers=2, running=2, starting=4, stuck=4)
    assert [each.cancel_stuck for each in memory.decide([stuck], 0, 8, 0.0)] == [3]
    free = replace(stuck, starting=0, stuck=0)
    assert [each.start for each in memory.decide([free], 0, 8, 10.0)] == [1]
    assert [each.start for each in memory.decide([free], 0, 8, FULL_BACKOFF + 1.0)] == [4]
