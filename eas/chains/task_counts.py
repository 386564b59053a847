"""Counts of tasks whose number may depend on data."""

from __future__ import annotations

from eas.model import CONTROL_TASKS

UNDETERMINED = "undetermined"
"""The task type of tasks whose type depends on data."""
PRODUCTS = "\0products"
_TOTAL = "\0total"
_LEAVES = "\0leaves"


class Counts:
    """Numbers of tasks by type: those that certainly run, and bounds on those that may run (None: no bound)."""

    def __init__(self) -> None:
        self.certain: dict[str, int] = {}
        self._low: dict[str, int] = {}
        self._high: dict[str, int | None] = {}

    def add(self, key: str, number: int = 1) -> None:
        """Count ``number`` certain tasks of a type, or products."""
        self.certain[key] = self.certain.get(key, 0) + number

    def add_unbounded(self, key: str) -> None:
        """Count an unknown number of tasks of a type, perhaps none."""
        self._high[key] = None

    def add_either(self, one: Counts, other: Counts) -> None:
        """Count one of two branches, whichever runs."""
        for key in one.names() | other.names():
            low_one, high_one = one.bounds(key)
            low_other, high_other = other.bounds(key)
            self._low[key] = self._low.get(key, 0) + min(low_one, low_other)
            self._raise(key, None if high_one is None or high_other is None else max(high_one, high_other))

    def add_at_least_once(self, iteration: Counts) -> None:
        """Count one or more iterations."""
        for key in iteration.names():
            low, high = iteration.bounds(key)
            self._low[key] = self._low.get(key, 0) + low
            self._raise(key, high and None)

    def bounds(self, key: str) -> tuple[int, int | None]:
        """Return how many there are at least and at most."""
        certain = self._certain(key)
        high = self._high.get(key, 0)
        return certain + self._low.get(key, 0), None if high is None else certain + high

    def total(self) -> tuple[int, int | None]:
        """Return the bounds of the number of all tasks."""
        return self.bounds(_TOTAL)

    def leaves(self) -> tuple[int, int | None]:
        """Return the bounds of the number of tasks that workers run."""
        return self.bounds(_LEAVES)

    def types(self) -> dict[str, tuple[int, int | None]]:
        """Return the bounds for each task type that may occur, sorted."""
        found = {key: self.bounds(key) for key in sorted(self.names()) if not key.startswith("\0")}
        return {key: bounds for key, bounds in found.items() if bounds != (0, 0)}

    def names(self) -> set[str]:
        """Return all counted keys, including totals."""
        return {_TOTAL, _LEAVES, *self.certain, *self._low, *self._high}

    def _certain(self, key: str) -> int:
        if key == _TOTAL:
            return sum(number for each, number in self.certain.items() if each != PRODUCTS)
        if key == _LEAVES:
            return sum(number for each, number in self.certain.items() if each not in (PRODUCTS, *CONTROL_TASKS))
        return self.certain.get(key, 0)

    def _raise(self, key: str, high: int | None) -> None:
        before = self._high.get(key, 0)
        self._high[key] = None if before is None or high is None else before + high

    def add_unknown(self, types: list[str]) -> None:
        """Count any number of tasks of ``types``: their loop's length depends on data."""
        for key in (*types, _TOTAL, _LEAVES, PRODUCTS):
            self.add_unbounded(key)
