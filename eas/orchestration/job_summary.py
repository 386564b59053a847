"""The outcome of a job as one object: the result of its flow, and what ``eas run`` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eas import html_tables
from eas.model import CONTROL_TASKS
from eas.names import label_of
from eas.states import JobState, TaskState
from eas.taskdb import jobs
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.taskdb.queries import job_outcome, progress
from eas.taskdb.queries.outcomes import OUTCOMES

STATES = tuple(TaskState)
HTML_FAILURES = 10
"""Failures that a notebook shows."""


@dataclass(frozen=True)
class Failure:
    """A task that did not succeed, with its state and the reason."""

    task_id: int
    task_type: str
    label: str
    state: str
    reason: str

    @property
    def explanation(self) -> str:
        """The reason and its hint on one line; for a traceback only its last line."""
        return in_one_line(self.reason)


@dataclass(frozen=True)
class JobSummary:
    """The outcome of a job.

    Attributes
    ----------
    counts:
        Task type to state to number of tasks, control tasks included.
    failures:
        Tasks that failed, stalled, are blocked or were cancelled (the first thousand). A control task is
        included only if its state is not merely that of its children.
    wall_clock:
        From the job's start to its end, or until now [s]; None before it started.
    seed:
        Seed of all random numbers of the job; ``--seed`` reproduces them.
    source:
        Name of the chain's file.
    """

    job_id: int
    job_name: str
    state: str
    counts: dict[str, dict[str, int]]
    failures: list[Failure]
    wall_clock: float | None
    seed: str = ""
    source: str = ""

    @property
    def leaves(self) -> dict[str, int]:
        """Number of leaf tasks in each state."""
        total: dict[str, int] = {}
        for task_type, states in self.counts.items():
            if task_type not in CONTROL_TASKS:
                for state, count in states.items():
                    total[state] = total.get(state, 0) + count
        return total

    @property
    def succeeded(self) -> bool:
        """Whether every task is done."""
        return self.state == JobState.DONE

    @property
    def message(self) -> str:
        """One line: ``12 of 14 tasks done; 1 failed, 1 blocked``."""
        leaves = self.leaves
        total, done = sum(leaves.values()), leaves.get(TaskState.DONE, 0)
        others = [f"{count} {state}" for state, count in leaves.items() if state != TaskState.DONE]
        return f"{done} of {total} tasks done" + (f"; {', '.join(others)}" if others else "")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """Return it as a table, for notebooks."""
        return to_html(self)


def to_html(summary: JobSummary, outcomes: Mapping[str, Mapping[str, int]] | None = None) -> str:
    """Return the tasks of a job by type and state, and its failures, as HTML; only states that occur have a column.

    ``outcomes``: number of each outcome by type of search; they have columns where there are any.
    """
    types = [name for name in summary.counts if name not in CONTROL_TASKS]
    states = [state for state in STATES if any(summary.counts[name].get(state) for name in types)]
    header = ["task type", *states, "total", *(OUTCOMES if outcomes else ())]
    rows = []
    for name in types:
        counts, judged = summary.counts[name], (outcomes or {}).get(name)
        found = [judged[outcome] if judged else "" for outcome in OUTCOMES] if outcomes else []
        rows.append([name, *(counts.get(state) or "" for state in states), sum(counts.values()), *found])
    failures = summary.failures[:HTML_FAILURES]
    listed = [f"{each.state}: task {each.task_id}, {each.label}: {each.explanation}" for each in failures]
    if len(summary.failures) > len(failures):
        listed.append(f"and {len(summary.failures) - len(failures)} more: errors()")
    title = f"job {summary.job_id} ({summary.job_name}): {summary.state}; {summary.message}"
    return html_tables.table(title, header, rows, listed)


def summarise(database: TaskDatabase, job_id: int, *, failures: bool = True) -> JobSummary:
    """Return the current state of a job, read from the task database. Raises UnknownJobError.

    ``failures``: name the tasks that did not succeed; without them only the states are counted, which is cheaper.
    """
    with database.read() as connection:
        job = jobs.get(connection, job_id)
        counts: dict[str, dict[str, int]] = {}
        for (task_type, state), total in progress.counts(connection, [job_id])[job_id].items():
            counts.setdefault(task_type or "?", {})[state] = total
        bad = job_outcome.unsuccessful(connection, job_id) if failures else []
        reasons = job_outcome.last_failures(connection, [row.id for row in bad])
    ended = job.ended_at or database.now()
    return JobSummary(
        job_id=job.id,
        job_name=job.name,
        state=job.state,
        counts={key: counts[key] for key in sorted(counts)},
        failures=[_failure(row, reasons) for row in bad],
        wall_clock=ended - job.started_at if job.started_at else None,
        seed=job.seed,
        source=job.source,
    )


def _failure(row: AnyRow, reasons: dict[int, str]) -> Failure:
    label = label_of(row.task_type, row.name, json.loads(row.metadata))
    reason = row.reason or reasons.get(row.id, "")
    return Failure(row.id, str(row.task_type), label, row.state, reason)


def in_one_line(reason: str) -> str:
    """Return a reason and its hint on one line; for a traceback only its last line."""
    lines = [line.strip() for line in reason.strip().splitlines()]
    if not lines:
        return ""
    return lines[-1] if lines[0].startswith("Traceback (") else " ".join(lines)
