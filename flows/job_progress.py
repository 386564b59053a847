"""The progress artifact of a running job."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from eas.model import CONTROL_TASKS
from eas.states import TaskState
from flows.artifacts import artifact_key

INTERVAL = 5.0
"""Prefect hears of progress at most so often [s]: its server has better to do."""

LOG = logging.getLogger("eas.flows")


class JobProgress:
    """Shows in Prefect's UI how far a job is. What goes wrong with that must not touch the job."""

    def __init__(self, job_id: int, job_name: str) -> None:
        self.title = f"{job_name} (job {job_id})"
        self.key = artifact_key(f"job-{job_name}-progress")
        self._artifact: UUID | None = None
        self._shown: tuple[float, str] | None = None
        self._due = 0.0

    async def show(self, counts: Mapping[tuple[str, TaskState], int], *, last: bool = False) -> None:
        """Publish the counts of tasks by type and state, unless that was done a moment ago."""
        now = time.monotonic()
        if now < self._due and not last:
            return
        self._due = now + INTERVAL
        news = percent_and_text(counts)
        if news == self._shown:
            return
        try:
            await self._publish(*news)
            self._shown = news
        except Exception as error:  # of Prefect's client: many kinds
            LOG.warning("the progress artifact is not up to date: %s", error)

    async def _publish(self, percent: float, text: str) -> None:
        description = f"{self.title}: {text}"
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(percent, key=self.key, description=description)
        else:
            await aupdate_progress_artifact(self._artifact, percent, description=description)


def percent_and_text(counts: Mapping[tuple[str, TaskState], int]) -> tuple[float, str]:
    """Return how much of a job's leaf tasks has settled [%], and the same in words.

    Of a job that may still grow, what is not expanded yet does not count.
    """
    leaves: dict[TaskState, int] = {}
    growing = 0
    for (task_type, state), count in counts.items():
        if task_type not in CONTROL_TASKS:
            leaves[state] = leaves.get(state, 0) + count
        elif state is TaskState.WAITING:
            growing += count
    total = sum(leaves.values())
    settled = sum(count for state, count in leaves.items() if state.final)
    parts = [f"{leaves.get(TaskState.DONE, 0)} of {total} tasks done"]
    parts += [f"{leaves[state]} {state}" for state in TaskState if leaves.get(state) and state is not TaskState.DONE]
    if growing:
        parts.append(f"{growing} control tasks still to expand")
    return (100.0 * settled / total if total else 0.0), ", ".join(parts)
