"""The task types ``null``, which does nothing for a while, and ``error``, which fails."""

from __future__ import annotations

import time
from collections.abc import Mapping

from eas.model import Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import DURATION
from eas.tasks.settings import warn_text_numbers


class Null(Task):
    """Sleeps for ``duration`` [s]. Its QC is the default one."""

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Sleep; a duration of 0 returns at once."""
        warn_text_numbers(context.settings, [DURATION], "", context.log)
        if duration := DURATION.required(context.settings):
            time.sleep(duration)
        return {}


class DeliberateError(Exception):
    """What a task of type ``error`` raises, so that a traceback is there to be logged."""


class Error(Task):
    """Raises, to show the outcome of a task that does."""

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Raise DeliberateError."""
        raise DeliberateError("a task of type 'error' always fails")
