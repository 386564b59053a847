"""What became of a job, as one object: the result of its flow, and what ``eas run`` prints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from eas.control.graph import loop_values
from eas.model import CONTROL_TASKS
from eas.states import JobState, TaskState
from eas.taskdb import attempts, jobs, tasks
from eas.taskdb.engine import AnyRow, TaskDatabase

STATES = tuple(TaskState)


@dataclass(frozen=True)
class Failure:
    """A task that did not succeed: which, in what state, and why (one line)."""

    task_id: int
    task_type: str
    label: str
    state: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """What became of a job.

    Attributes
    ----------
    counts:
        Task type to state to number of tasks, control tasks included.
    failures:
        Tasks that failed, stalled, are blocked or were cancelled (the first thousand); control
        tasks only where that is not just because of their children.
    wall_clock:
        From the job's start to its end, or until now [s]; None before it started.
    """

    job_id: int
    job_name: str
    state: str
    counts: dict[str, dict[str, int]]
    failures: list[Failure]
    wall_clock: float | None

    @property
    def leaves(self) -> dict[str, int]:
        """How many leaf tasks are in each state."""
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


def summarise(database: TaskDatabase, job_id: int) -> Summary:
    """Return what SQL says of a job now. Raises UnknownJobError."""
    with database.read() as connection:
        job = jobs.get(connection, job_id)
        counts: dict[str, dict[str, int]] = {}
        for row in tasks.counts(connection, job_id):
            counts.setdefault(row.task_type or "?", {})[row.state] = row.total
        bad = tasks.unsuccessful(connection, job_id)
        reasons = attempts.last_failures(connection, [row.id for row in bad])
    ended = job.ended_at or attempts.now()
    return Summary(
        job_id=job.id,
        job_name=job.name,
        state=job.state,
        counts={key: counts[key] for key in sorted(counts)},
        failures=[_failure(row, reasons) for row in bad],
        wall_clock=ended - job.started_at if job.started_at else None,
    )


def _failure(row: AnyRow, reasons: dict[int, str]) -> Failure:
    values = loop_values(json.loads(row.metadata))
    label = f"{row.task_type} [{values}]" if values else str(row.task_type)
    reason = row.reason or reasons.get(row.id, "")
    return Failure(row.id, str(row.task_type), label, row.state, reason)
