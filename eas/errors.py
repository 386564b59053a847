"""All exception classes of EAS, with a common base class.

A message states what happened, where, and what to do next. ``exit_code`` is the exit code of the ``eas``
command: 2 for a wrong request (nothing was changed), 3 for a service that cannot be reached, 1 for failures
while running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class EASError(Exception):
    """Base class of all exceptions that EAS raises.

    Parameters
    ----------
    what:
        What happened and where.
    hint:
        What the reader can do about it; shown on its own line.
    """

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.hint}" if self.hint else self.what


class RequestError(EASError):
    """The request was wrong; nothing was changed."""

    exit_code = 2


class SettingsError(RequestError):
    """A setting (command line, environment or saved file) cannot be used."""


class ServiceError(EASError):
    """A service (database, broker, Prefect server) could not be reached."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a chain file.

    Attributes
    ----------
    path:
        JSON path, such as ``task_list[2].inputs.lightcurve``; empty for the whole file.
    message:
        What is wrong there.
    hint:
        How to correct it.
    line, column:
        Place in the text, from 1, where it is known (JSON syntax errors); else 0.
    """

    path: str
    message: str
    hint: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}" if self.line else (self.path or "(file)")
        text = f"{where}: {self.message}"
        return f"{text}\n    -> {self.hint}" if self.hint else text


class ChainError(RequestError):
    """A chain file is not valid.

    Attributes
    ----------
    source:
        Name of the file.
    problems:
        All problems found, at least one.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a ChainError needs at least one problem")
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problems" if len(self.problems) > 1 else "1 problem"
        super().__init__(f"{source}: {count} in this task chain")

    def __str__(self) -> str:
        return "\n".join([f"{self.what}:", *(f"  {problem}" for problem in self.problems)])


class ExpressionError(RequestError):
    """An expression is not allowed, or cannot be evaluated.

    Attributes
    ----------
    expression:
        The expression's text (shortened when it is long).
    """

    def __init__(self, expression: str, what: str, *, hint: str = "") -> None:
        self.expression = expression if len(expression) <= 120 else expression[:117] + "..."
        super().__init__(f"expression {self.expression!r}: {what}", hint=hint)


class MissingMetadataError(ExpressionError):
    """An expression reads ``requested_metadata`` that is not available (yet)."""


class UnknownTaskTypeError(RequestError):
    """No such task type in the registry, or one that has no public code."""


class UnknownJobError(RequestError):
    """No such job in the task database."""


class UnknownTaskError(RequestError):
    """No such task in the task database."""


class UnknownFileError(RequestError):
    """No such file product, or no such version of one, in the task database."""


class ProductsExistError(RequestError):
    """File products of the job exist already.

    Attributes
    ----------
    products:
        ``(working directory, file name, made by)`` of each.
    """

    def __init__(self, what: str, products: Sequence[tuple[str, str, str]], *, hint: str) -> None:
        super().__init__(what, hint=hint)
        self.products = tuple(products)


class StorePathError(RequestError):
    """A path leads out of the file store or into a reserved part of it."""


class StoreError(RequestError):
    """The file store can be reached but refuses a request: missing bucket, no permission, no space."""


class ChecksumError(EASError):
    """A stored file product does not have the recorded size or checksum."""


class TaskFailure(EASError):  # noqa: N818 - task authors read it as a word of the language
    """Raised by a task's own code for a failure that needs no traceback to be understood.

    Parameters
    ----------
    what:
        What happened and where.
    hint:
        What the user of the chain can do about it.

    Examples
    --------
    >>> print(TaskFailure("the light curve has no good samples", hint="check what made it"))
    the light curve has no good samples
      -> check what made it
    """


class LostLeaseError(EASError):
    """Another process has taken over an attempt or a job that this process held."""


class JobChangedError(EASError):
    """An operator changed the job's tasks in the task database; the state in the orchestrator's memory is outdated."""
