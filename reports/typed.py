"""Report tables with real types: UTC datetimes, categories, numbers, and units in ``attrs["units"]``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from eas.names import loop_keys
from reports.columns import ColumnNames, base_name, iso_times, texts
from reports.errors import LEVELS
from reports.outcomes import is_number

UTC = "UTC"
CATEGORIES = frozenset({"job_name", "task_type", "state", "host", "worker", "qc", "outcome", "level", "logger"})
"""Columns of texts with few different values."""
TASK_COLUMNS = ("task_id", "job_id", "job_name", "task_type", "name", "state", "created [UTC]", "ended [UTC]", "reason")


def typed(frame: pd.DataFrame, units: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return a report table with real types; its columns have no units in their names.

    Texts with few values become categories, ISO times datetimes in UTC, values that are all numbers int64 or
    float64 (Int64 where some are missing). ``attrs["units"]`` has the units by column; ``units``: those of loop
    parameters, by name.
    """
    columns: dict[str, pd.Series[Any]] = {}
    known: dict[str, str] = {}
    for full in frame.columns:
        name = base_name(str(full))
        unit = str(full)[len(name) :].strip(" []") or (units or {}).get(name, "")
        columns[name] = _typed_column(frame[full], name, is_time=unit == UTC)
        if unit and unit != UTC:
            known[name] = unit
    found = pd.DataFrame(columns, columns=list(columns), index=frame.index)
    found.attrs["units"] = known
    return found


def _typed_column(column: pd.Series[Any], name: str, *, is_time: bool) -> pd.Series[Any]:
    if is_time:
        return pd.to_datetime(column.where(column != "", None), utc=True, format="ISO8601", errors="coerce")
    if name in CATEGORIES:
        return column.astype("category")
    if column.dtype != object or column.dropna().empty:
        return column
    found = _type_of(column.dropna(), complete=not column.hasnans)
    return column if found is None else column.astype(pd.api.types.pandas_dtype(found))


def _type_of(values: pd.Series[Any], *, complete: bool) -> str | None:
    """Return the type of a column with these values, or None if their types differ."""
    if all(isinstance(value, str) for value in values):
        return "str"
    if not all(is_number(value) for value in values):
        return None
    if all(isinstance(value, int) and abs(value) < 2**63 for value in values):
        return "int64" if complete else "Int64"
    return "float64"


def task_frame(rows: Iterable[Any], results: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row for each task: identity, state, times, loop parameters, and results of the accepted attempt.

    Parameters
    ----------
    rows:
        As ``eas.taskdb.queries.task_list.page`` gives them.
    results:
        Output metadata by attempt id.
    """
    tasks = list(rows)
    metadata = [json.loads(row.metadata) for row in tasks]
    output = [dict(results.get(row.accepted_attempt_id, {})) for row in tasks]
    values = (
        [row.id for row in tasks], [row.job_id for row in tasks], [row.job_name for row in tasks],
        [row.task_type for row in tasks], [row.name for row in tasks], [row.state for row in tasks],
        pd.to_datetime(pd.Series([row.created_at for row in tasks], dtype=float), unit="s", utc=True),
        pd.to_datetime(pd.Series([row.ended_at for row in tasks], dtype=float), unit="s", utc=True),
        [row.reason for row in tasks],
    )  # fmt: skip
    data: dict[str, Any] = dict(zip(TASK_COLUMNS, values, strict=True))
    parameters = dict.fromkeys(key for each in metadata for key, _ in loop_keys(each))
    keys = dict.fromkeys(key for each in output for key in each)
    names = ColumnNames(TASK_COLUMNS)
    for key, column in names.choose_all(parameters, "parameter").items():
        data[column] = texts(each.get(key) for each in metadata)
    for key, column in names.choose_all(keys, "result").items():
        data[column] = texts(each.get(key) for each in output)
    frame = pd.DataFrame(data)
    return frame.astype({"task_id": "int64", "job_id": "int64", "name": object, "reason": object})


def log_frame(rows: Iterable[Any], numbers: Mapping[int, int]) -> pd.DataFrame:
    """Return one row for each log entry: time (UTC), attempt number, level, logger, message, traceback.

    Parameters
    ----------
    rows:
        Rows of ``log_entries``.
    numbers:
        Number of each attempt, by id.
    """
    entries = list(rows)
    frame = pd.DataFrame(
        {
            "time [UTC]": texts(iso_times(row.logged_at for row in entries)),
            "attempt_number": pd.Series([numbers[row.attempt_id] for row in entries], dtype="int64"),
            "level": texts(LEVELS.get(row.level, str(row.level)) for row in entries),
            **{name: texts(getattr(row, name) for row in entries) for name in ("logger", "message", "traceback")},
        }
    )
    return typed(frame)
