"""A task type that fails until a file is there: for tests of what operators do after a failure."""

from __future__ import annotations

from collections.abc import Mapping

from eas.errors import TaskFailure
from eas.model import Scalar
from eas.registry import Registry, TaskType
from eas.tasks.base import Task, TaskContext


class FailsUntilFileExists(Task):
    """Fails unless the file that ``needs`` names lies in the input directory; writes all its outputs.

    Its output metadata are its setting ``mood``.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        needed = context.settings.get("needs")
        if needed and not (context.input_directory / str(needed)).exists():
            raise TaskFailure(f"there is no {needed} today")
        for path in context.outputs.values():
            path.write_text("made")
        return {"mood": context.settings.get("mood", 1)}


def with_flaky_task(registry: Registry) -> Registry:
    """Return the registry with the task type ``moody`` in it."""
    moody = TaskType(
        "moody", "eas-base", "tests.integration.flaky_task:FailsUntilFileExists", outputs=(), optional_outputs=("file",)
    )
    return Registry({**registry.task_types, "moody": moody}, registry.worker_types)
