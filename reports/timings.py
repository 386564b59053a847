"""Resources of attempts: one row for each ended attempt, and a summary by task type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.columns import ColumnNames, LoopValues, iso_times, numbers, texts

FIRST_COLUMNS = ("job_id", "job_name", "task_type", "task_id", "attempt_id", "attempt_number", "state")
PLACE_COLUMNS = ("host", "worker")
TIME_COLUMNS = ("queued [UTC]", "started [UTC]", "ended [UTC]")
MEASURE_COLUMNS = ("wait [s]", "wall_clock [s]", "cpu [s]", "cpu_with_children [s]", "peak_memory [MB]")
LAST_COLUMNS = (*PLACE_COLUMNS, *TIME_COLUMNS, *MEASURE_COLUMNS, "qc")
QC = {True: "passed", False: "failed", None: ""}
STATISTICS: Mapping[str, Callable[[np.ndarray[Any, Any]], float]] = {
    "total": lambda values: float(np.sum(values)),
    "mean": lambda values: float(np.mean(values)),
    "median": lambda values: float(np.median(values)),
    "p95": lambda values: float(np.percentile(values, 95)),
    "max": lambda values: float(np.max(values)),
}
SUMMABLE_COLUMNS = MEASURE_COLUMNS[:4]
"""Measures that can be summed; peak memory cannot."""


def parameter_columns(keys: Iterable[str]) -> dict[str, str]:
    """Return the column of each loop parameter."""
    return ColumnNames((*FIRST_COLUMNS, *LAST_COLUMNS)).choose_all(keys, "parameter")


def timings_frames(
    chunks: Iterable[Sequence[Any]], parameters: Mapping[str, str], hosts: Mapping[str, str]
) -> Iterator[pd.DataFrame]:
    """Yield the timings table in parts: first an empty one, so that there is always a header.

    Raises UnknownParametersError where a row has a loop parameter without a column.
    """
    values = LoopValues(parameters)
    yield timings_frame([], parameters, hosts, values)
    for rows in chunks:
        yield timings_frame(rows, parameters, hosts, values)


def timings_frame(
    rows: Sequence[Any], parameters: Mapping[str, str], hosts: Mapping[str, str], values: LoopValues | None = None
) -> pd.DataFrame:
    """Return one row for each ended attempt, with any result.

    Parameters
    ----------
    rows:
        As ``eas.taskdb.queries.reports.finished_attempts`` gives them.
    parameters:
        Loop parameter to column.
    hosts:
        Worker id to the name of its host.
    values:
        Reader of the parameters with its cache, to reuse.
    """
    (job_id, job_name, task_type, task_id, attempt_id, number, state, worker, queued, started, ended, wall, cpu,
     cpu_children, memory, qc, metadata) = _columns(rows, 17)  # fmt: skip
    data: dict[str, Any] = dict(
        zip(
            FIRST_COLUMNS,
            (
                _ints(job_id),
                texts(job_name),
                texts(task_type),
                _ints(task_id),
                _ints(attempt_id),
                _ints(number),
                texts(state),
            ),
            strict=True,
        )
    )
    loops = (values or LoopValues(parameters)).columns(metadata)
    data |= {column: texts(loop) for column, loop in zip(parameters.values(), loops, strict=True)}
    data["host"] = texts(hosts.get(each, "") for each in worker)
    data["worker"] = texts(each or "" for each in worker)
    for column, times in zip(TIME_COLUMNS, (queued, started, ended), strict=True):
        data[column] = texts(iso_times(times))
    wait = numbers(started) - numbers(queued)
    for column, measure in zip(MEASURE_COLUMNS, (wait, wall, cpu, cpu_children, memory), strict=True):
        data[column] = numbers(measure)
    data["qc"] = texts(QC[None if each is None else bool(each)] for each in qc)
    return pd.DataFrame(data, copy=False)


def _columns(rows: Sequence[Any], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _ints(values: Iterable[Any]) -> np.ndarray[Any, Any]:
    return np.fromiter(values, dtype=np.int64)


class TimingsSummary:
    """Collects the measures of timings tables and summarises them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._parts: dict[tuple[str, str], list[np.ndarray[Any, Any]]] = {}

    def watch(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield ``frames`` unchanged and add them."""
        for frame in frames:
            self.add(frame)
            yield frame

    def add(self, frame: pd.DataFrame) -> None:
        """Add a timings table, or a part of one."""
        if frame.empty:
            return
        kinds = frame["task_type"].to_numpy() + "\n" + frame["state"].to_numpy()
        measures = frame[list(MEASURE_COLUMNS)].to_numpy(dtype=float)
        for kind in pd.unique(kinds):
            task_type, _, state = str(kind).partition("\n")
            here = kinds == kind
            key = (task_type, state)
            self._counts[key] = self._counts.get(key, 0) + int(here.sum())
            self._parts.setdefault(key, []).append(measures[here])

    def frame(self) -> pd.DataFrame:
        """Return one row for each task type and state of attempts: count, total, mean, median, p95, max."""
        rows = []
        for key in sorted(self._counts):
            values = np.concatenate(self._parts[key])
            row: dict[str, Any] = {"task_type": key[0], "state": key[1], "attempts": self._counts[key]}
            for place, measure in enumerate(MEASURE_COLUMNS):
                known = values[:, place][np.isfinite(values[:, place])]
                row |= {
                    name: round(share(known), 6) if len(known) else np.nan for name, share in _summary_columns(measure)
                }
            rows.append(row)
        return pd.DataFrame.from_records(rows, columns=SUMMARY_COLUMNS)


def _summary_columns(measure: str) -> list[tuple[str, Callable[[np.ndarray[Any, Any]], float]]]:
    """Return the summary's columns of a measure: ``wall_clock_mean [s]`` and how to compute it."""
    name, _, unit = measure.partition(" ")
    return [
        (f"{name}_{each} {unit}", share)
        for each, share in STATISTICS.items()
        if each != "total" or measure in SUMMABLE_COLUMNS
    ]


SUMMARY_COLUMNS = [
    "task_type",
    "state",
    "attempts",
    *(name for measure in MEASURE_COLUMNS for name, _ in _summary_columns(measure)),
]
