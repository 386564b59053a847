"""Estimates the duration of queued attempts, by job and task type.

Recent attempts have the largest weight. Running attempts count as well: one that has run for a long time
shows that tasks of this kind are slow before it ends. Other jobs have little weight, because the duration of
a task depends on its settings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from eas.taskdb.engine import AnyRow

MAX_AGE = 21_600.0
"""Maximum age [s] of the attempts from which durations are estimated."""
SLOT = 30.0
"""Length [s] of the intervals by which ended attempts are grouped; attempts of one interval have the same weight."""
WEIGHT_HALF_LIFE = 60.0
"""Age difference [s] that halves the weight of an attempt."""
RATE_WINDOW = 900.0
"""Maximum age [s] of the attempts that count for the rate."""
JobTaskType = tuple[int, str]
"""A job and a task type."""


class DurationEstimate(NamedTuple):
    """Mean duration of attempts [s], and the total weight of the attempts that it is based on."""

    wall: float
    weight: float


class WorkWaiting(NamedTuple):
    """Work that waits.

    ``seconds``: of one worker; ``unmeasured``: attempts of which nothing is known yet and that are not in it;
    ``mean_wall``: mean duration of attempts that ended [s], None where none has; ``rate``: how many ended lately
    in each second.
    """

    seconds: float
    unmeasured: int
    mean_wall: float | None
    rate: float


def duration_estimates(rows: Iterable[AnyRow]) -> dict[JobTaskType, DurationEstimate]:
    """Return the pace of each job and task type.

    ``rows``: ``(job_id, task_type, slot, ended, wall)``, with the age in intervals and the sum of durations.
    """
    weights: defaultdict[JobTaskType, float] = defaultdict(float)
    sums: defaultdict[JobTaskType, float] = defaultdict(float)
    for row in rows:
        factor = 0.5 ** (max(int(row.slot), 0) * SLOT / WEIGHT_HALF_LIFE)
        weights[row.job_id, row.task_type] += factor * int(row.ended)
        sums[row.job_id, row.task_type] += factor * float(row.wall)
    return {kind: DurationEstimate(sums[kind] / weight, weight) for kind, weight in weights.items() if weight > 0}


def waiting(queues: Iterable[AnyRow], ended: Iterable[AnyRow], now: float, startup: float) -> WorkWaiting:
    """Return the work that waits in ``queues``, whose tasks one worker type runs.

    If only other jobs have run the task type, half of their mean duration is assumed, and only if it exceeds the
    startup time of a worker.
    """
    ended = list(ended)
    known = duration_estimates(ended)
    by_type = _by_type(known)
    seconds, unmeasured = 0.0, 0
    for row in queues:
        due = 0 if row.paused else int(row.due)
        pace = _with_running(known.get((row.job_id, row.task_type)), row, now)
        other = by_type.get(row.task_type, 0.0)
        if pace is not None:
            seconds += due * pace
        elif other >= startup:
            seconds += due * other / 2
            unmeasured += due
        else:
            unmeasured += due
    count = sum(int(row.ended) for row in ended)
    lately = sum(int(row.ended) for row in ended if int(row.slot) * SLOT < RATE_WINDOW)
    wall = sum(float(row.wall) for row in ended)
    return WorkWaiting(seconds, unmeasured, wall / count if count else None, lately / RATE_WINDOW)


def _with_running(pace: DurationEstimate | None, row: AnyRow, now: float) -> float | None:
    """Return the mean duration, corrected by the running attempts; None if nothing is known.

    A running attempt only gives a lower bound of its duration. Without ended attempts, twice its elapsed time is
    assumed.
    """
    running = int(row.running)
    elapsed = max(now - float(row.running_since), 0.0) if running and row.running_since is not None else 0.0
    if pace is None:
        return 2 * elapsed if elapsed >= 1.0 else None
    if elapsed <= pace.wall:
        return pace.wall
    return (pace.weight * pace.wall + running * elapsed) / (pace.weight + running)


def _by_type(known: Mapping[JobTaskType, DurationEstimate]) -> dict[str, float]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for (_, task_type), pace in known.items():
        found[task_type].append(pace.wall)
    return {task_type: sum(walls) / len(walls) for task_type, walls in found.items()}
