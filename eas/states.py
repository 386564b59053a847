"""States of tasks, scheduling attempts and jobs; guarded updates in ``eas.taskdb`` move between them."""

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
