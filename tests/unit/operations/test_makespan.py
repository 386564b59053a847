"""The simulated schedule: exact where it can be computed by hand, within Graham's bounds everywhere."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas.chains.plan import walk
from eas.chains.planner import TaskGroup
from eas.operations.makespan import makespan
from tests.unit.chains.build import REGISTRY, bins, chain, either, loop, makes, null, reads, repeat, searches

CURVE, BINNED = "'{i_index}.lc'.format(**metadata)", "'{i_index}_b.lc'.format(**metadata)"
INDICES = list(range(10))


def groups_of(*tasks: dict) -> list[TaskGroup]:
    return walk(chain(*tasks), REGISTRY, "1", job_name="job", working_directory="wd").planner.groups()


def numbers(*tasks: dict) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(each.task_type, each.count, each.waits_for) for each in groups_of(*tasks)]


@dataclass
class Given:
    count: int
    waits_for: tuple[int, ...] = ()


def test_iterations_of_a_loop_are_one_group_for_each_task():
    found = numbers(loop("i", INDICES, makes(CURVE), bins(CURVE, BINNED), searches(BINNED)))
    assert found == [
        ("synthesis_batman", 10, ()), ("binning", 10, (0,)), ("transit_search_bls_reference", 10, (1,)),
    ]  # fmt: skip


def test_a_loop_over_many_values_has_as_few_groups_as_over_some():
    values = [0, 1, 3000]
    assert len(numbers(loop("i", values, makes(CURVE), reads(CURVE), key="linear_range"))) == 2


def test_a_task_that_waits_for_all_of_a_loop_waits_for_its_end():
    found = numbers(loop("i", INDICES, null(), name="all"), null(requires_metadata_from=["all"]))
    assert found == [("null", 10, ()), ("", 1, (0,)), ("null", 1, (1,))]


def test_iterations_of_a_known_do_while_loop_wait_for_each_other():
    found = groups_of(repeat("n", "(metadata['n_index'] < 4)", null()))
    assert makespan(found, [1.0 if each.task_type else None for each in found], 8) == 4


def test_what_may_not_run_is_marked():
    condition = either("(requested_metadata['m']['mes'] > 1)", [null()], [null(), null()], requires_metadata_from=["m"])
    found = groups_of(makes("a.lc", name="m"), condition)
    assert [each.certain for each in found if each.task_type == "synthesis_batman"] == [True]
    assert {each.certain for each in found if each.task_type == "null"} == {False}


@pytest.mark.parametrize(
    ("groups", "durations", "workers", "expected"),
    [
        ([], [], 1, 0),
        ([Given(1)], [5.0], 4, 5),
        ([Given(10)], [1.0], 3, 4),
        ([Given(10)], [1.0], 20, 1),
        ([Given(2), Given(2, (0,))], [3.0, 1.0], 2, 4),
        ([Given(10), Given(10, (0,))], [1.0, 1.0], 5, 4),
        # Two at a time: four rounds of the first, then one that waits for all.
        ([Given(8), Given(1, (0,))], [1.0, 10.0], 2, 14),
        # The second one begins when its own part of the first is done, not when all are.
        ([Given(3), Given(3, (0,))], [1.0, 1.0], 2, 3),
        ([Given(1), Given(1, (0,)), Given(1, (1,))], [1.0, None, 2.0], 7, 3),
        ([Given(1), Given(2, (0,))], [None, 1.0], 1, 2),
        # The slower of two that it waits for decides.
        ([Given(1), Given(1), Given(1, (0, 1))], [2.0, 7.0, 1.0], 2, 8),
        ([Given(1), Given(1), Given(1, (0, 1))], [7.0, 2.0, 1.0], 2, 8),
        # One task for each six: the first is ready after two rounds, behind those that were ready before it.
        ([Given(12), Given(2, (0,))], [1.0, 6.0], 3, 10),
    ],
)
def test_a_schedule_that_can_be_computed_by_hand(
    groups: list[Given], durations: list[float | None], workers: int, expected: float
):
    assert makespan(groups, durations, workers) == expected


def test_no_worker_runs_nothing():
    with pytest.raises(ValueError, match="at least one worker"):
        makespan([Given(1)], [1.0], 0)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Given], list[float | None], int]:
    groups: list[Given] = []
    durations: list[float | None] = []
    for number in range(draw(st.integers(1, 8))):
        before = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        groups.append(Given(draw(st.sampled_from([1, 2, 7, 40, 3000])), tuple(sorted(before))))
        durations.append(draw(st.sampled_from([None, 0.0, 0.5, 1.0, 3.0, 20.0])))
    return groups, durations, draw(st.integers(1, 50))


@given(schedules())
def test_no_schedule_is_faster_than_its_work_and_its_longest_path_or_slower_than_both(
    schedule: tuple[list[Given], list[float | None], int],
):
    groups, durations, workers = schedule
    times = [each or 0.0 for each in durations]
    work = sum(group.count * time for group, time in zip(groups, times, strict=True)) / workers
    paths: list[float] = []
    for group, time in zip(groups, times, strict=True):
        paths.append(time + max((paths[each] for each in group.waits_for), default=0.0))
    found = makespan(groups, durations, workers)
    # A group's first tasks need not wait for all of another group; a large group is run in 200 rounds.
    assert work <= found * (1 + 1e-9)
    assert found <= (work + max(paths)) * 1.01 + max(times) * (1 + len(groups))


@pytest.mark.parametrize("workers", [1, 3, 8, 32])
def test_folding_gives_the_same_as_a_schedule_of_single_tasks(workers: int):
    values = [0, 1, 2000]
    tasks = (
        loop("i", values, makes(CURVE), bins(CURVE, BINNED), reads(CURVE), searches(BINNED), name="all",
             key="linear_range"),
        null(requires_metadata_from=["all"]),
    )  # fmt: skip
    times = {"synthesis_batman": 2.0, "binning": 0.1, "verify": 0.3, "transit_search_bls_reference": 7.0, "null": 5.0}
    planner = walk(chain(*tasks), REGISTRY, "1", job_name="job", working_directory="wd").planner
    groups = planner.groups()
    folded = makespan(groups, [times.get(each.task_type) for each in groups], workers)
    graph = planner._graph
    edges = list(zip(graph._sources, graph._targets, strict=True))
    exact = schedule_of_single_tasks([times.get(each, 0.0) for each in planner._types], edges, workers)
    assert folded == pytest.approx(exact, rel=0.01)


def schedule_of_single_tasks(durations: list[float], edges: list[tuple[int, int]], workers: int) -> float:
    """Return the time that list scheduling takes, task by task."""
    waiting = [0] * len(durations)
    followers: list[list[int]] = [[] for _ in durations]
    for source, target in edges:
        waiting[target] += 1
        followers[source].append(target)
    ready = deque(node for node, count in enumerate(waiting) if not count)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and (len(running) < workers or not durations[ready[0]]):
            node = ready.popleft()
            heapq.heappush(running, (now + durations[node], node))
        now, node = heapq.heappop(running)
        for target in followers[node]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return now


def test_a_million_tasks_are_some_thousand_steps():
    class Counting(list):
        looks = 0

        def __getitem__(self, place):
            Counting.looks += 1
            return super().__getitem__(place)

    groups = [Given(500_000), Given(500_000, (0,)), Given(1, (1,))]
    assert makespan(groups, Counting([1.0, 2.0, 1.0]), 8) == pytest.approx(187_501, rel=0.01)
    assert Counting.looks < 10_000
