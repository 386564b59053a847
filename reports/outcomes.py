"""Outcomes of searches: one row for each task with an outcome, and detection rates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.columns import ColumnNames, Metadata, loop_parameters, texts

FIRST_COLUMNS = ("job_id", "job_name", "task_type", "task_id", "attempt_id", "outcome", "passed")
PASSED = {"PASS": 1.0, "FAIL": 0.0}


@dataclass(frozen=True)
class Layout:
    """Which columns a pass-fail table has: metadata key to column, of parameters and of results."""

    parameters: Mapping[str, str]
    results: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """All columns in order."""
        return [*FIRST_COLUMNS[:5], *self.parameters.values(), *FIRST_COLUMNS[5:], *self.results.values()]


def is_number(value: Any) -> bool:
    """Return whether a metadata value is a number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def layout(chunks: Iterable[Sequence[Any]]) -> Layout:
    """Return the columns for rows of ``eas.taskdb.queries.reports.outcomes``, in order of first appearance."""
    parse, parameters, results = Metadata(), dict[str, None](), dict[str, None]()
    for rows in chunks:
        for row in rows:
            output = json.loads(row.output_metadata)
            if "outcome" not in output:
                continue
            parameters.update(dict.fromkeys(loop_parameters(parse(row.metadata))))
            results.update((key, None) for key, value in output.items() if key not in results and is_number(value))
    names = ColumnNames(FIRST_COLUMNS)
    return Layout(names.choose_all(parameters, "parameter"), names.choose_all(results, "result"))


def pass_fail_frames(chunks: Iterable[Sequence[Any]], columns: Layout) -> Iterator[pd.DataFrame]:
    """Yield the pass-fail table in parts: first an empty one, so that there is always a header.

    ``passed`` is 1 for PASS, 0 for FAIL and empty for any other outcome.
    """
    parse = Metadata()
    yield pass_fail_frame([], columns, parse)
    for rows in chunks:
        yield pass_fail_frame(rows, columns, parse)


def pass_fail_frame(rows: Iterable[Any], columns: Layout, parse: Metadata | None = None) -> pd.DataFrame:
    """Return one row for each task with an outcome: where, parameters, outcome, numeric results."""
    parse = parse or Metadata()
    found = []
    for row in rows:
        output = json.loads(row.output_metadata)
        if "outcome" in output:
            found.append((row, loop_parameters(parse(row.metadata)), output))
    data: dict[str, pd.Series[Any]] = {
        "job_id": pd.Series([row.job_id for row, *_ in found], dtype="int64"),
        "job_name": texts(row.job_name for row, *_ in found),
        "task_type": texts(row.task_type for row, *_ in found),
        "task_id": pd.Series([row.id for row, *_ in found], dtype="int64"),
        "attempt_id": pd.Series([row.accepted_attempt_id for row, *_ in found], dtype="int64"),
    }
    for key, column in columns.parameters.items():
        data[column] = texts(metadata.get(key) for _, metadata, _ in found)
    data["outcome"] = texts(output["outcome"] for *_, output in found)
    data["passed"] = texts(_passed(output["outcome"]) for *_, output in found)
    for key, column in columns.results.items():
        values = (output.get(key) for *_, output in found)
        data[column] = texts(value if is_number(value) else None for value in values)
    return pd.DataFrame(data, columns=columns.columns)


def _passed(outcome: Any) -> int | None:
    found = PASSED.get(outcome) if isinstance(outcome, str) else None
    return None if found is None else int(found)


def parameters_of(frame: pd.DataFrame) -> list[str]:
    """Return the parameter columns of a pass-fail table: those between ``attempt_id`` and ``outcome``."""
    columns = list(frame.columns)
    return columns[columns.index("attempt_id") + 1 : columns.index("outcome")]


def varied_parameters(frame: pd.DataFrame) -> list[str]:
    """Return the parameters that take more than one value, in order."""
    return [column for column in parameters_of(frame) if frame[column].nunique() > 1]


def detection_rates(frame: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """Return the share of PASS among PASS and FAIL for each pair of two parameters' values.

    A table with the task type, the values of ``rows``, the values of ``columns``, ``passed``, ``failed``,
    ``undefined`` (everything else) and ``detection_rate`` (empty where nothing passed or failed).
    """
    keys = ["task_type", rows, columns]
    known = frame.dropna(subset=[rows, columns])
    counted = pd.DataFrame(
        {
            **{key: known[key] for key in keys},
            "passed": (known["outcome"] == "PASS").astype("int64"),
            "failed": (known["outcome"] == "FAIL").astype("int64"),
            "total": 1,
        }
    )
    grid = counted.groupby(keys, sort=False, as_index=False)[["passed", "failed", "total"]].sum()
    grid["undefined"] = grid.pop("total") - grid["passed"] - grid["failed"]
    judged = grid["passed"] + grid["failed"]
    grid["detection_rate"] = grid["passed"] / judged.where(judged > 0)
    return grid


def as_numbers(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a parameter's values as floats, or None where some are no numbers."""
    values = column.dropna()
    if values.empty or not all(is_number(value) for value in values):
        return None
    return column.astype(float)
