"""The task types ``null``, which sleeps, and ``error``, which fails."""

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
    """Raised by tasks of type ``error``, so that a traceback is logged."""


class Error(Task):
    """Always raises an exception, to demonstrate failures."""

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Raise DeliberateError."""
        raise DeliberateError("a task of type 'error' always fails")
