"""Progress of jobs: tasks by job, task type and state, and an estimate of the time left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from eas.model import CONTROL_TASKS
from eas.states import TaskState
from reports.columns import texts

STATES = ("waiting", "queued", "running", "stalled", "failed", "blocked", "done", "cancelled")
COLUMNS = ("job_id", "job_name", "task_type", *STATES, "total", "percent_done [%]", "time_left [s]")
UNFINISHED = (TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING)
ENDED_BY_WORK = (TaskState.DONE, TaskState.FAILED, TaskState.STALLED)
UNDECIDED = "?"
"""Shown as the type of a task whose type expression depends on metadata of other tasks."""

Counts: TypeAlias = dict[str, int]
CountRow: TypeAlias = Sequence[Any]
"""``(job_id, job_name, task_type, state, total)``."""


def progress_frame(
    rows: Iterable[CountRow],
    first_starts: Mapping[tuple[int, str], float] | None = None,
    now: float = 0.0,
) -> pd.DataFrame:
    """Return one row for each job and task type, types that workers run before control tasks.

    Parameters
    ----------
    rows:
        ``(job_id, job_name, task_type, state, total)``, as ``eas.taskdb.queries.progress.task_counts`` gives.
    first_starts:
        When the first attempt of a job and task type started [Unix time, s].
    now:
        The time that rates are taken to [Unix time, s].
    """
    groups: dict[tuple[int, str, str], Counts] = {}
    for job_id, job_name, task_type, state, total in rows:
        counts = groups.setdefault((job_id, job_name, task_type or UNDECIDED), dict.fromkeys(STATES, 0))
        counts[state] += total
    records = [
        _record(key, counts, _rest(counts, (first_starts or {}).get((key[0], key[2])), now))
        for key, counts in sorted(groups.items(), key=_order)
    ]
    frame = pd.DataFrame.from_records(records, columns=list(COLUMNS))
    for column in ("job_name", "task_type"):
        frame[column] = texts(frame[column])
    return frame.astype(dict.fromkeys(("job_id", *STATES, "total"), "int64") | dict.fromkeys(COLUMNS[-2:], float))


def under_way(rows: Iterable[CountRow]) -> list[tuple[int, str]]:
    """Return the jobs and task types whose time left can be estimated: those with ended and unfinished tasks."""
    states: dict[tuple[int, str], set[str]] = {}
    for job_id, _, task_type, state, _ in rows:
        if task_type is not None and task_type not in CONTROL_TASKS:
            states.setdefault((job_id, task_type), set()).add(state)
    return [key for key, found in states.items() if found & set(ENDED_BY_WORK) and found & set(UNFINISHED)]


def _order(item: tuple[tuple[int, str, str], Counts]) -> tuple[int, bool, str]:
    job_id, _, task_type = item[0]
    return job_id, task_type in CONTROL_TASKS, task_type


def _record(key: tuple[int, str, str], counts: Counts, left: float | None) -> tuple[Any, ...]:
    total = sum(counts.values())
    percent = round(100 * counts["done"] / total, 2) if total else 0.0
    return (*key, *(counts[state] for state in STATES), total, percent, left)


def _rest(counts: Counts, first_start: float | None, now: float) -> float | None:
    """Estimate how long the unfinished tasks take at the rate so far [s]; None without a basis."""
    left, ended = sum(counts[state] for state in UNFINISHED), sum(counts[state] for state in ENDED_BY_WORK)
    if not left:
        return 0.0
    if not ended or first_start is None or now <= first_start:
        return None
    return round(left * (now - first_start) / ended, 1)
