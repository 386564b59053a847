"""How a job's progress looks while it runs: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from eas.control.summary import STATES, Summary, summarise
from eas.errors import EASError
from eas.model import CONTROL_TASKS
from eas.states import FINAL_TASK_STATES, TaskState
from eas.taskdb.engine import TaskDatabase

LIVE_SECONDS = 0.5
PLAIN_SECONDS = 5.0
STYLES = {
    TaskState.DONE: "green",
    TaskState.RUNNING: "cyan",
    TaskState.FAILED: "red",
    TaskState.STALLED: "red",
    TaskState.BLOCKED: "yellow",
    TaskState.CANCELLED: "yellow",
}


def summary_table(summary: Summary) -> Table:
    """Return the tasks of a job by type and state; only states that occur have a column."""
    shown = [state for state in STATES if any(counts.get(state) for counts in summary.counts.values())]
    table = Table(title=f"job {summary.job_id} ({summary.job_name}): {summary.state}", title_justify="left")
    table.add_column("task type")
    for state in shown:
        table.add_column(state, justify="right", style=STYLES.get(state, ""))
    table.add_column("total", justify="right")
    for task_type in sorted(summary.counts, key=lambda name: (name in CONTROL_TASKS, name)):
        counts = summary.counts[task_type]
        table.add_row(task_type, *(str(counts.get(state) or "") for state in shown), str(sum(counts.values())))
    return table


def _ended(leaves: Mapping[str, int]) -> int:
    return sum(count for state, count in leaves.items() if state in FINAL_TASK_STATES)


class JobDisplay:
    """Shows a job's progress from SQL until the block ends; it never gets in the job's way."""

    def __init__(self, database: TaskDatabase, job_id: int, console: Console, *, quiet: bool = False) -> None:
        self.database = database
        self.job_id = job_id
        self.console = console
        self.quiet = quiet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="display", daemon=True)
        self._began = time.monotonic()
        self._first = 0
        self._line = ""

    def __enter__(self) -> Self:
        if not self.quiet:
            self._first = _ended(summarise(self.database, self.job_id).leaves)
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
                while not self._stop.wait(LIVE_SECONDS):
                    if (summary := self._look()) is not None:
                        live.update(self._picture(summary), refresh=True)
        else:
            while not self._stop.wait(PLAIN_SECONDS):
                if (summary := self._look()) is not None:
                    self._print_line(summary)

    def _look(self) -> Summary | None:
        try:
            return summarise(self.database, self.job_id)
        except EASError:
            return None  # the next look may succeed, and whoever drives the job will tell

    def _picture(self, summary: Summary) -> Group:
        leaves = summary.leaves
        total = sum(leaves.values())
        bar = ProgressBar(total=max(total, 1), completed=_ended(leaves), width=60)
        return Group(summary_table(summary), bar, Text(self._pace(leaves)))

    def _print_line(self, summary: Summary) -> None:
        leaves = summary.leaves
        states = ", ".join(f"{leaves[state]} {state}" for state in STATES if leaves.get(state))
        line = f"job {summary.job_id}: {states or 'no tasks yet'}"
        if line != self._line:
            self._line = line
            self.console.print(f"{line}; {self._pace(leaves)}", soft_wrap=True, highlight=False)

    def _pace(self, leaves: Mapping[str, int]) -> str:
        """Return the rate so far and the time left, where there is a basis for it."""
        ended, total = _ended(leaves), sum(leaves.values())
        seconds = time.monotonic() - self._began
        rate = (ended - self._first) / seconds
        if rate <= 0:
            return f"{ended} of {total} ended, {seconds:.0f} s so far"
        left = (total - ended) / rate
        return f"{ended} of {total} ended, {rate:.3g} tasks/s, about {left:.0f} s left"
