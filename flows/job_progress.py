"""The progress artifact of a running job."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from eas import web_addresses
from eas.model import CONTROL_TASKS
from eas.plain_text import markdown as escaped
from eas.states import TaskState
from flows.artifacts import artifact_key, linked

UPDATE_INTERVAL = 5.0
"""Minimum interval [s] between two updates, because each costs the Prefect server CPU time."""

LOG = logging.getLogger("eas.flows")


class JobProgress:
    """Publishes a job's progress in the Prefect UI. Errors are logged, because they must not affect the job."""

    def __init__(self, job_id: int, job_name: str, web_url: str = "") -> None:
        page = web_addresses.link(web_url, web_addresses.job(job_id))
        self.title = linked(f"{escaped(job_name)} (job {job_id})", page)
        self.key = artifact_key(f"job-{job_name}-progress")
        self._artifact: UUID | None = None
        self._shown: tuple[float, str] | None = None
        self._due = 0.0

    async def show(
        self, counts: Mapping[tuple[str, TaskState], int], warnings: Sequence[str] = (), *, last: bool = False
    ) -> None:
        """Publish the counts of tasks by type and state, and warnings, at most once per ``UPDATE_INTERVAL``."""
        now = time.monotonic()
        if now < self._due and not last:
            return
        self._due = now + UPDATE_INTERVAL
        percent, text = percent_and_text(counts)
        news = percent, "".join(f"WARNING: {escaped(each)}. " for each in warnings) + text
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
    """Return the share of settled leaf tasks of a job [%], and a description of it.

    Loops that have not started are not counted.
    """
    leaves: dict[TaskState, int] = {}
    unexpanded = 0
    for (task_type, state), count in counts.items():
        if task_type not in CONTROL_TASKS:
            leaves[state] = leaves.get(state, 0) + count
        elif state is TaskState.WAITING:
            unexpanded += count
    total = sum(leaves.values())
    settled = sum(count for state, count in leaves.items() if state.final)
    parts = [f"{leaves.get(TaskState.DONE, 0)} of {total} tasks done"]
    parts += [f"{leaves[state]} {state}" for state in TaskState if leaves.get(state) and state is not TaskState.DONE]
    if unexpanded:
        parts.append(f"{unexpanded} control tasks still to expand")
    return (100.0 * settled / total if total else 0.0), ", ".join(parts)
