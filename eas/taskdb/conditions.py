"""Conditions on tasks that several statements share."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

from eas.model import CONTROL_TASKS
from eas.states import TaskState
from eas.taskdb import tables

TASKS = tables.tasks


def withdrawn() -> ColumnElement[bool]:
    """Return the condition that an operator withdrew a task from the queue and has not rescheduled it."""
    return and_(TASKS.c.state == TaskState.WAITING, TASKS.c.held_at.is_not(None))


def leaf() -> ColumnElement[bool]:
    """Return the condition that a task is a leaf task; a task of unknown type (NULL) counts as one."""
    return or_(TASKS.c.task_type.is_(None), TASKS.c.task_type.not_in(sorted(CONTROL_TASKS)))
