"""Simulates list scheduling: the time that a number of workers needs for tasks with dependencies.

The tasks of a group (`eas.chains.planner.TaskGroup`) have equal durations, and a worker takes several tasks of a
large group at a time, so that 10^6 tasks need only some hundred events. As in the job queue, the task that
became ready first goes to the first free worker.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

MIN_ROUNDS = 200
"""Minimum number of rounds in which the workers run a large group: limits the error to 1/200 of its duration."""


class Group(Protocol):
    """Interface of a group: ``count`` equal tasks that wait for tasks of earlier groups."""

    @property
    def count(self) -> int: ...
    @property
    def waits_for(self) -> tuple[int, ...]: ...


def makespan(groups: Sequence[Group], durations: Sequence[float | None], workers: int) -> float:
    """Return the time from the start of the first task to the end of the last one [s].

    Parameters
    ----------
    groups:
        Each waits for earlier ones only. The ready share of a group equals the smallest completed share of
        the groups that it waits for. This is exact if the tasks of both groups correspond one to one, or if
        a single task waits for all.
    durations:
        For each group, the duration of one task [s]; None for tasks that need no worker.
    workers:
        Number of workers, each of which runs any task, one at a time.
    """
    if workers < 1:
        raise ValueError("at least one worker is needed")
    return _Simulation(groups, durations, workers).run()


@dataclass(slots=True)
class _GroupProgress:
    """A group's tasks: how many are ready or further, how many are done, and what they wait for."""

    count: int
    waits_for: tuple[int, ...]
    released: int = 0
    done: int = 0
    slowest: int = 0
    """Index in ``waits_for`` of the group with the smallest completed share."""
    followers: list[int] = field(default_factory=list)


class _Simulation:
    def __init__(self, groups: Sequence[Group], durations: Sequence[float | None], workers: int) -> None:
        self._states = [_GroupProgress(each.count, each.waits_for) for each in groups]
        for number, each in enumerate(self._states):
            for before in each.waits_for:
                self._states[before].followers.append(number)
        self._durations = durations
        self._free = workers
        self._tasks_per_worker = [max(1, each.count // (MIN_ROUNDS * workers)) for each in groups]
        self._ready: deque[tuple[int, int]] = deque()
        self._running: list[tuple[float, int, int, int]] = []

    def run(self) -> float:
        now = 0.0
        for number, each in enumerate(self._states):
            if not each.waits_for:
                for done in self._release(number, each.count):
                    self._finish(*done)
        self._start(now)
        while self._running:
            now = self._running[0][0]
            while self._running and self._running[0][0] <= now:
                _, number, tasks, workers = heapq.heappop(self._running)
                self._free += workers
                self._finish(number, tasks)
            self._start(now)
        return now

    def _start(self, now: float) -> None:
        """Give ready tasks to free workers, in the order in which they became ready."""
        while self._free and self._ready:
            number, count = self._ready.popleft()
            duration = self._durations[number]
            assert duration is not None
            each = min(self._tasks_per_worker[number], -(-count // self._free))
            tasks = min(count, each * self._free)
            workers = -(-tasks // each)
            if tasks < count:
                self._ready.appendleft((number, count - tasks))
            self._free -= workers
            heapq.heappush(self._running, (now + each * duration, number, tasks, workers))

    def _finish(self, number: int, tasks: int) -> None:
        """Count tasks as done, and release what waited for them."""
        finished = [(number, tasks)]
        while finished:
            number, tasks = finished.pop()
            self._states[number].done += tasks
            for follower in self._states[number].followers:
                state = self._states[follower]
                if state.waits_for[state.slowest] == number and (more := self._newly_ready(state)):
                    finished += self._release(follower, more)

    def _newly_ready(self, state: _GroupProgress) -> int:
        """Return how many more tasks of a group have become ready; update ``slowest``."""
        least, first, places = 2.0, state.slowest, len(state.waits_for)
        for step in range(places):
            place = (first + step) % places
            before = self._states[state.waits_for[place]]
            share = before.done / before.count
            if share < least:
                least, state.slowest = share, place
                if not before.done:
                    return 0
        slowest = self._states[state.waits_for[state.slowest]]
        return state.count * slowest.done // slowest.count - state.released

    def _release(self, number: int, count: int) -> list[tuple[int, int]]:
        """Make tasks ready; return them if they need no worker and are therefore done immediately."""
        self._states[number].released += count
        if self._durations[number] is None:
            return [(number, count)]
        self._ready.append((number, count))
        return []
