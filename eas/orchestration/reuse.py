"""Handling of existing file products: fail, reuse those that were made the same way, or replace them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import reusable

FAIL = "fail"
REUSE = "reuse"
REPLACE = "replace"
CHOICES = (FAIL, REUSE, REPLACE)


@dataclass
class Decision:
    """The ready tasks that are not queued, and why.

    Attributes
    ----------
    kept:
        Task id to the attempt whose products and metadata it keeps.
    refused:
        Task id to the reason why it must not run.
    """

    kept: dict[int, int] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    def __contains__(self, task_id: int) -> bool:
        return task_id in self.kept or task_id in self.refused


def decide(connection: Connection, job: AnyRow, task_ids: Sequence[int]) -> Decision:
    """Return which of the ready leaf tasks of a job must not be queued, and why.

    This is decided when all inputs of a task exist, so that a task is kept only if the versions that
    its products were made from are still the current ones.
    """
    decision = Decision()
    if job.if_exists == REPLACE:
        return decision
    for part in chunks(task_ids):
        if job.if_exists == REUSE:
            decision.kept.update(reusable.made_the_same_way(connection, part))
        else:
            decision.refused.update(reusable.would_replace(connection, job.id, part))
    return decision
