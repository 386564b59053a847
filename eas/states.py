"""States of tasks, scheduling attempts and jobs, and the moves between them that are allowed."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """Where a task stands.

    A control task is *waiting* until it is expanded, *running* while children are unfinished.
    """

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STALLED = "stalled"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing moves this task any more, unless an operator reschedules it."""
        return self in FINAL_TASK_STATES


FINAL_TASK_STATES = frozenset(
    {TaskState.DONE, TaskState.FAILED, TaskState.STALLED, TaskState.BLOCKED, TaskState.CANCELLED}
)
UNSUCCESSFUL_TASK_STATES = FINAL_TASK_STATES - {TaskState.DONE}


class AttemptState(StrEnum):
    """Where a scheduling attempt stands. *done* means: its code succeeded and QC passed."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STALLED = "stalled"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether this attempt is over."""
        return self not in (AttemptState.QUEUED, AttemptState.RUNNING)


class JobState(StrEnum):
    """Where a job stands."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job is over."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


TASK_MOVES: dict[TaskState, frozenset[TaskState]] = {
    TaskState.WAITING: frozenset(
        {TaskState.QUEUED, TaskState.RUNNING, TaskState.DONE, TaskState.FAILED, TaskState.BLOCKED, TaskState.CANCELLED}
    ),
    TaskState.QUEUED: frozenset(
        {TaskState.RUNNING, TaskState.WAITING, TaskState.STALLED, TaskState.FAILED, TaskState.CANCELLED}
    ),
    TaskState.RUNNING: frozenset(
        {
            TaskState.DONE,
            TaskState.FAILED,
            TaskState.STALLED,
            TaskState.QUEUED,
            TaskState.BLOCKED,
            TaskState.CANCELLED,
        }
    ),
    # Rescheduling is the only way out of these.
    TaskState.FAILED: frozenset({TaskState.WAITING, TaskState.RUNNING}),
    TaskState.STALLED: frozenset({TaskState.WAITING}),
    TaskState.BLOCKED: frozenset({TaskState.WAITING}),
    TaskState.CANCELLED: frozenset({TaskState.WAITING}),
    TaskState.DONE: frozenset(),
}
"""From each task state, the states it may move to."""
