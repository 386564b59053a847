"""States of tasks, scheduling attempts, jobs and workers; guarded updates in ``eas.taskdb`` move between them."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """State of a task.

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
        """Whether the task has ended; only an operator can reschedule it."""
        return self in FINAL_TASK_STATES


FINAL_TASK_STATES = frozenset(
    {TaskState.DONE, TaskState.FAILED, TaskState.STALLED, TaskState.BLOCKED, TaskState.CANCELLED}
)


class AttemptState(StrEnum):
    """State of a scheduling attempt. *done* means: its code succeeded and QC passed."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STALLED = "stalled"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether this attempt has ended."""
        return self not in (AttemptState.QUEUED, AttemptState.RUNNING)


class JobState(StrEnum):
    """State of a job."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self in FINAL_JOB_STATES


FINAL_JOB_STATES = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
OPEN_JOB_STATES = (JobState.SUBMITTED, JobState.RUNNING)


class WorkerState(StrEnum):
    """State of a worker: *alive*, *left* (exited normally) or *lost* (its process died)."""

    ALIVE = "alive"
    LEFT = "left"
    LOST = "lost"
