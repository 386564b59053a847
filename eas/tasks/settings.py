"""Reading a task's settings: numbers within their range, unknown names reported, errors with a cure."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eas.errors import TaskFailure


@dataclass(frozen=True, slots=True)
class Number:
    """A setting that is a number.

    Attributes
    ----------
    default:
        Used where the setting is missing or null; None where nothing stands in for it.
    unit:
        For messages, such as ``days``.
    low, high:
        The range; ``low`` itself is excluded where ``above`` is true, ``high`` where ``below`` is.
    """

    name: str
    default: float | None = None
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def read(self, given: Mapping[str, Any], where: str = "") -> float | None:
        """Return the number in ``given``, or the default.

        Integers stay integers; booleans count as 0 and 1, and text that holds a number as that
        number (an expression may format one). ``where``: the dictionary's name, for messages.
        Raises TaskFailure for anything else, and outside the range.
        """
        value = given.get(self.name)
        if value is None:
            return self.default
        number = _number(value)
        if number is None or not self._contains(number):
            path = f"{where}.{self.name}" if where else self.name
            raise TaskFailure(f"{path} is {value!r}", cure=f"give a number {self.range()}".rstrip())
        return number

    def required(self, given: Mapping[str, Any], where: str = "") -> float:
        """Return the number in ``given`` or the default; raise TaskFailure where there is neither."""
        number = self.read(given, where)
        if number is None:
            path = f"{where}.{self.name}" if where else self.name
            raise TaskFailure(f"the setting {path} is missing", cure=f"give a number {self.range()}".rstrip())
        return number

    def range(self) -> str:
        """Return the range in words, with the unit."""
        words = []
        if math.isfinite(self.low):
            words.append(f"{'above' if self.above else 'of at least'} {self.low:g}")
        if math.isfinite(self.high):
            words.append(f"{'below' if self.below else 'of at most'} {self.high:g}")
        return " ".join([" and ".join(words), f"[{self.unit}]" if self.unit else ""]).strip()

    def _contains(self, number: float) -> bool:
        above = number > self.low if self.above else number >= self.low
        below = number < self.high if self.below else number <= self.high
        return math.isfinite(number) and above and below


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value if abs(value) < 1e300 else math.inf
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def dictionary(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the dictionary of settings called ``name``, empty where it is missing or null."""
    found = settings.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise TaskFailure(f"{name} is {found!r}", cure=f"give {name} as a dictionary of settings")
    return found


def warn_unknown(given: Mapping[str, Any], known: Iterable[str], where: str, log: logging.Logger) -> None:
    """Log a warning for each name in ``given`` that nothing reads, with the nearest that is read."""
    names = sorted(known)
    for name in given:
        if name in names:
            continue
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(names)}"
        log.warning("%s.%s is ignored: no such setting; %s", where, name, hint)
