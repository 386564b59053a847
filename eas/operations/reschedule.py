"""Reschedule tasks that failed, stalled or were withdrawn from the queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from eas.model import CONTROL_TASKS
from eas.queues.base import JobQueue
from eas.states import JobState, TaskState
from eas.taskdb import job_changes, jobs
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import job_selection, job_state
from eas.wakeups import JOBS

_FAILED = (TaskState.FAILED, TaskState.STALLED, TaskState.BLOCKED)


@dataclass(frozen=True)
class Rescheduled:
    """The outcome of rescheduling.

    Attributes
    ----------
    jobs:
        Job id to former state to number of tasks. The state *withdrawn* means that a task had been withdrawn from
        the queue. Control tasks count only if they had not expanded, or if a cancelled job has no other task.
    names:
        Job id to job name.
    """

    jobs: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def states(self) -> dict[str, int]:
        """Number of rescheduled tasks by former state."""
        total: dict[str, int] = {}
        for counts in self.jobs.values():
            for state, count in counts.items():
                total[state] = total.get(state, 0) + count
        return dict(sorted(total.items()))

    @property
    def total(self) -> int:
        """Number of rescheduled tasks."""
        return sum(self.states.values())

    @property
    def message(self) -> str:
        """One line: ``5 tasks of 2 jobs wait again: 3 blocked, 2 failed``."""
        if not self.total:
            return "nothing to reschedule: no task has failed, stalled or been withdrawn from the queue"
        what = ", ".join(f"{count} {state}" for state, count in self.states.items())
        number = f"{self.total} task{'s' * (self.total > 1)} of {len(self.jobs)} job{'s' * (len(self.jobs) > 1)}"
        return f"{number} wait again: {what}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        listed = [{"job_id": job, "job_name": self.names[job], "tasks": dict(self.jobs[job])} for job in self.jobs]
        return {"total": self.total, "tasks": self.states, "jobs": listed}


def reschedule(
    database: TaskDatabase, queue: JobQueue, *, job_name: str | None = None, job_id: int | None = None
) -> Rescheduled:
    """Set all tasks that failed, stalled or were withdrawn from the queue back to *waiting*.

    ``job_name`` or ``job_id`` restricts this to the jobs of this name, or to one job. Tasks that were blocked by
    them become *waiting* as well, also in other jobs. Their retries are reset to the number given at submission.
    Queued, running and done tasks are not changed. Ended jobs become *submitted* again, and run when a process
    drives them (the supervisor, ``eas run --resume``); the driver of a running job notices within a second.

    A cancelled job is rescheduled only if its id is given, or a name that no other job has. Its blocked tasks
    are rescheduled even if the tasks that block them are not.

    One transaction: a second call changes nothing. Raises UnknownJobError.
    """
    done = database.transact(lambda connection: _Rescheduling(connection).run(job_name, job_id))
    queue.wake()
    database.wakeups.notify(JOBS)
    return done


class _Rescheduling:
    """The transaction: first the requested jobs, then the jobs that these had blocked."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.former: dict[int, dict[int, str]] = {}
        self.names: dict[int, str] = {}

    def run(self, job_name: str | None, job_id: int | None) -> Rescheduled:
        wanted = self._wanted(job_name, job_id)
        explicit = job_id is not None or (job_name is not None and len(wanted) == 1)
        todo: deque[int] = deque()
        for each in wanted:
            if self._asked_for(each, explicit=explicit):
                todo.append(each)
        while todo:
            for other in sorted(self._blocked_by(todo.popleft())):
                if self._reschedule_tasks(other, (TaskState.BLOCKED,), withdrawn=False):
                    todo.append(other)
        counts = {job: job_changes.by_state(former) for job, former in sorted(self.former.items())}
        return Rescheduled(counts, {job: self.names[job] for job in counts})

    def _wanted(self, job_name: str | None, job_id: int | None) -> list[int]:
        if job_id is not None:
            job = jobs.get(self.connection, job_id)
            return [job_id] if job_name in (None, job.name) else []
        if job_name is not None:
            return job_selection.named(self.connection, job_name)
        return job_selection.jobs_with_failures(self.connection)

    def _asked_for(self, job_id: int, *, explicit: bool) -> bool:
        job = job_changes.lock(self.connection, job_id)
        if not explicit and (job.state == JobState.CANCELLED or not job_selection.has_failed(self.connection, job_id)):
            return False
        states = (*_FAILED, TaskState.CANCELLED) if job.state == JobState.CANCELLED else _FAILED
        return self._reschedule_tasks(job_id, states, withdrawn=True)

    def _reschedule_tasks(self, job_id: int, states: tuple[TaskState, ...], *, withdrawn: bool) -> bool:
        job = job_changes.lock(self.connection, job_id)
        if job.driver == job_changes.PRUNING or (job.state == JobState.CANCELLED and TaskState.CANCELLED not in states):
            return False
        former = job_changes.reschedule_tasks(self.connection, job, states, withdrawn=withdrawn)
        if former:
            self.former.setdefault(job_id, {}).update(former)
            self.names[job_id] = job.name
        return bool(former)

    def _blocked_by(self, job_id: int) -> set[int]:
        """Return the other jobs with tasks that were blocked by the rescheduled tasks of this job."""
        back = self.former[job_id]
        kinds = job_state.types_of(self.connection, back)
        grows = any(kind is None or kind in CONTROL_TASKS for kind in kinds)
        return job_selection.jobs_blocked_by(self.connection, back, may_grow=grows) - self.former.keys()
