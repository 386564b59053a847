"""Displays a job's progress: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from eas.errors import EASError
from eas.model import CONTROL_TASKS
from eas.orchestration.job_summary import STATES, JobSummary, summarise
from eas.plain_text import fitting_columns, one_line
from eas.states import FINAL_TASK_STATES, TaskState
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries.outcomes import OUTCOMES

LIVE_INTERVAL = 0.5
PLAIN_INTERVAL = 5.0
MAX_QUERY_SHARE = 0.02
"""Maximum share of the time for queries: counting 10^6 tasks takes 0.1 s or more, which slows down the job."""
MAX_INTERVAL = 30.0
"""Maximum interval between two queries [s], also if an outage has delayed one."""
STYLES: Mapping[str, str] = {
    TaskState.DONE: "green",
    TaskState.RUNNING: "cyan",
    TaskState.FAILED: "red",
    TaskState.STALLED: "red",
    TaskState.BLOCKED: "yellow",
    TaskState.CANCELLED: "yellow",
}
COLUMN_PRECEDENCE = ("task type", TaskState.DONE, TaskState.FAILED, "total", *OUTCOMES)
"""Columns that are kept on a narrow terminal, most important first."""
MAX_TYPE_WIDTH = 18
"""Width of a folded task type."""


def summary_table(
    summary: JobSummary, outcomes: Mapping[str, Mapping[str, int]] | None = None, width: int | None = None
) -> Table:
    """Return the tasks of a job by type and state; only states that occur have a column.

    ``outcomes``: number of each outcome by type of search; they have columns where there are any.
    ``width``: characters of the terminal; columns that do not fit are left out, and task types are wrapped.
    """
    types = sorted(summary.counts, key=lambda name: (name in CONTROL_TASKS, name))
    columns = {"task type": types}
    for state in STATES:
        if any(counts.get(state) for counts in summary.counts.values()):
            columns[state] = [str(summary.counts[name].get(state) or "") for name in types]
    columns["total"] = [str(sum(summary.counts[name].values())) for name in types]
    found = outcomes or {}
    for outcome in OUTCOMES if found else ():
        columns[outcome] = [str(found[name][outcome]) if name in found else "" for name in types]
    table = Table(title=one_line(f"job {summary.job_id} ({summary.job_name}): {summary.state}"), title_justify="left")
    for name in _with_room(columns, width):
        if name == "task type":
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", style=STYLES.get(name, ""), no_wrap=True)
    for row in zip(*(columns[name] for name in _with_room(columns, width)), strict=True):
        table.add_row(*row)
    return table


def _with_room(columns: Mapping[str, Sequence[str]], width: int | None) -> list[str]:
    """Return the columns that fit on the terminal, with 3 characters between columns."""
    if width is None:
        return list(columns)
    widths = [3 + min(max(map(len, [name, *cells])), MAX_TYPE_WIDTH) for name, cells in columns.items()]
    names = list(columns)
    return [
        names[place]
        for place in fitting_columns(widths, width - 1, [names.index(n) for n in COLUMN_PRECEDENCE if n in names])
    ]


def _ended(leaves: Mapping[str, int]) -> int:
    return sum(count for state, count in leaves.items() if state in FINAL_TASK_STATES)


class JobDisplay:
    """Displays a job's progress until the block ends; its errors never affect the job."""

    def __init__(self, database: TaskDatabase, job_id: int, console: Console, *, quiet: bool = False) -> None:
        self.database = database
        self.job_id = job_id
        self.console = console
        self.quiet = quiet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="display", daemon=True)
        self._began = time.monotonic()
        self._rate_since = self._began
        self._first = 0
        self._line = ""

    def __enter__(self) -> Self:
        if not self.quiet:
            self._first = _ended(summarise(self.database, self.job_id, failures=False).leaves)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        if self.console.is_terminal:
            with Live(console=self.console, transient=True, auto_refresh=False) as live:
                for summary in self._summaries(LIVE_INTERVAL):
                    live.update(self._picture(summary), refresh=True)
        else:
            for summary in self._summaries(PLAIN_INTERVAL):
                self._print_line(summary)

    def _summaries(self, interval: float) -> Iterator[JobSummary]:
        """Yield the job's summary at intervals [s] that grow with the cost of the query, until the block ends."""
        pause = interval
        while not self._stop.wait(pause):
            began = time.monotonic()
            summary = self._summary()
            pause = max(interval, min((time.monotonic() - began) / MAX_QUERY_SHARE, MAX_INTERVAL))
            if summary is not None:
                yield summary

    def _summary(self) -> JobSummary | None:
        try:
            return summarise(self.database, self.job_id, failures=False)
        except EASError:
            return None  # the next query may succeed, and the process that drives the job reports errors

    def _picture(self, summary: JobSummary) -> Group:
        leaves = summary.leaves
        total = sum(leaves.values())
        bar = ProgressBar(total=max(total, 1), completed=_ended(leaves), width=min(60, self.console.width))
        return Group(summary_table(summary, width=self.console.width), bar, Text(self._progress_text(leaves)))

    def _print_line(self, summary: JobSummary) -> None:
        leaves = summary.leaves
        states = ", ".join(f"{leaves[state]} {state}" for state in STATES if leaves.get(state))
        line = f"job {summary.job_id}: {states or 'no tasks yet'}"
        if line != self._line:
            self._line = line
            self.console.print(f"{line}; {self._progress_text(leaves)}", soft_wrap=True, highlight=False)

    def _progress_text(self, leaves: Mapping[str, int]) -> str:
        """Return the rate since the first task began and the time left, if enough tasks have ended."""
        ended, total = _ended(leaves), sum(leaves.values())
        now = time.monotonic()
        if ended <= self._first:
            if not leaves.get(TaskState.RUNNING):
                self._rate_since = now
            return f"{ended} of {total} ended, {now - self._began:.0f} s so far"
        rate = (ended - self._first) / max(now - self._rate_since, 0.001)
        left = (total - ended) / rate
        return f"{ended} of {total} ended, {rate:.3g} tasks/s, about {left:.0f} s left"
