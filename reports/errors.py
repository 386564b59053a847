"""All logged errors and tracebacks, and their numbers grouped by the last line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from eas.plain_text import last_line
from reports.columns import iso_times, texts

COLUMNS = ("time [UTC]", "job_id", "job_name", "task_type", "task_id", "attempt_id", "attempt_number", "host",
           "worker", "level", "logger", "message", "traceback")  # fmt: skip
GROUP_COLUMNS = ("count", "last_line", "first [UTC]", "last [UTC]", "task_types", "last_attempt_id")
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


def error_frames(chunks: Iterable[Sequence[Any]], hosts: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    """Yield the errors table in parts: first an empty one, so that there is always a header."""
    yield error_frame([], hosts)
    for rows in chunks:
        yield error_frame(rows, hosts)


def error_frame(rows: Sequence[Any], hosts: Mapping[str, str]) -> pd.DataFrame:
    """Return one row for each error.

    Parameters
    ----------
    rows:
        As ``eas.taskdb.queries.reports.logged_errors`` and similar queries give them.
    hosts:
        Worker id to the name of its host.
    """
    columns = list(zip(*rows, strict=True)) if rows else [()] * 12
    time, *what, worker, level, logger, message, traceback = columns
    values: list[Iterable[Any]] = [
        iso_times(time),
        *what,
        [hosts.get(each, "") for each in worker],
        worker,
        [LEVELS.get(each, str(each)) for each in level],
        logger,
        message,
        traceback,
    ]
    return pd.DataFrame({name: texts(column) for name, column in zip(COLUMNS, values, strict=True)})


@dataclass
class _Group:
    first: str
    last: str
    count: int = 0
    task_types: set[str] = field(default_factory=set)
    last_attempt_id: int | None = None


class ErrorGroups:
    """Counts errors by their last line while the table is streamed."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def watch(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield ``frames`` unchanged and add them."""
        for frame in frames:
            self.add(frame)
            yield frame

    def add(self, frame: pd.DataFrame) -> None:
        """Add an errors table, or a part of one."""
        wanted = ("time [UTC]", "task_type", "attempt_id", "message", "traceback")
        for time, task_type, attempt, message, traceback in zip(*(frame[name] for name in wanted), strict=True):
            group = self._groups.setdefault(last_line(traceback, message), _Group(time, time))
            group.count += 1
            group.first = min(group.first, time)
            group.task_types.add(task_type or "?")
            if time >= group.last:
                group.last, group.last_attempt_id = time, attempt

    def frame(self) -> pd.DataFrame:
        """Return one row for each last line, the most frequent first."""
        groups = sorted(self._groups.items(), key=lambda item: (-item[1].count, item[0]))
        rows = [
            (each.count, line, each.first, each.last, ", ".join(sorted(each.task_types)), each.last_attempt_id)
            for line, each in groups
        ]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(GROUP_COLUMNS)
        return pd.DataFrame({name: texts(column) for name, column in zip(GROUP_COLUMNS, columns, strict=True)})
