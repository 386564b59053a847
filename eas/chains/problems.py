"""A bounded list of problems of a chain."""

from __future__ import annotations

from eas.errors import Problem

MAX_PROBLEMS = 50
"""Maximum number of problems that are reported at once."""


class ProblemList:
    """Keeps the first problems and counts the others, so that a file with many errors costs little memory."""

    def __init__(self) -> None:
        self._kept: list[Problem] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._count)

    @property
    def full(self) -> bool:
        """Whether further problems are only counted: no hint needs to be looked for."""
        return self._count >= MAX_PROBLEMS

    def add(self, path: str, message: str, hint: str) -> None:
        """Add a problem at JSON path ``path``."""
        if not self.full:
            self._kept.append(Problem(path, message, hint))
        self._count += 1

    def reported(self) -> list[Problem]:
        """Return the first problems, and how many there are besides."""
        more = self._count - len(self._kept)
        return [*self._kept, Problem("", f"and {more} further problems", "correct these first")] if more else self._kept
