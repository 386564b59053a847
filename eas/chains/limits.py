"""Limits of expressions, and the error for exceeding them.

An expression is untrusted and is evaluated up to 10^5 times in one job. The limits keep the evaluation of one
expression below some ten milliseconds and some megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

MAX_EXPRESSION = 10_000
"""Longest expression [characters]."""
MAX_DEPTH = 100
"""Deepest nesting of an expression [levels of its syntax tree]."""
MAX_STEPS = 12_000
"""Maximum number of steps of one evaluation; handling long values counts as several steps."""
MAX_TEXT = 100_000
"""Longest string, and all strings in a list together [characters]."""
MAX_ITEMS = 10_000
"""Maximum number of elements in a list, including nested ones."""
MAX_KEYS = 1_000
"""Maximum number of keys in a dictionary: keys can be chosen to collide, which takes quadratic time."""
MAX_BITS = 4_096
"""Largest integer [bits]."""
MAX_FORMAT = 5_000
"""Longest format string [characters]."""
MAX_WIDTH = 1_000
"""Widest field and highest precision in a format [characters]."""

TOO_LARGE_INTEGER = 1 << MAX_BITS
_MACHINE_WORD = 1 << 63


class NotAllowedError(Exception):
    """Raised for an expression that is not allowed; converted to an ExpressionError that names the expression.

    A hint that is slow to compute can be given as a function, which is called when the hint is read.
    """

    def __init__(
        self, what: str, *, hint: str | Callable[[], str] = "make it simpler: an expression computes a small value"
    ) -> None:
        super().__init__(what)
        self.what = what
        self._hint = hint

    @property
    def hint(self) -> str:
        """What a user can do about it."""
        if callable(self._hint):
            self._hint = self._hint()
        return self._hint

    def without_traceback(self) -> NotAllowedError:
        """Return a copy without traceback, so that caching it does not keep the frames alive."""
        return NotAllowedError(self.what, hint=self._hint)


def finite(value: float) -> bool:
    """Return whether a number is finite as a float; integers may be too large for a float."""
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def cost(value: Any) -> int:
    """Return the cost of handling ``value`` [steps]; raise NotAllowedError if it is too large or of another type."""
    kind = type(value)
    if kind is int:
        return _integer_size(value)
    if kind is str:
        if len(value) > MAX_TEXT:
            raise NotAllowedError(f"makes a string of more than {MAX_TEXT} characters", hint="build shorter strings")
        return len(value) >> 6
    if kind is complex:
        raise NotAllowedError("makes a complex number", hint="do not take a fractional power of a negative number")
    if kind in (float, bool, type(None), slice):
        return 0
    return _CostMeter().add(value)


def _integer_size(value: int) -> int:
    if -_MACHINE_WORD < value < _MACHINE_WORD:
        return 0
    if not -TOO_LARGE_INTEGER < value < TOO_LARGE_INTEGER:
        raise NotAllowedError(f"makes an integer of more than {MAX_BITS} bits", hint="use smaller numbers, or floats")
    return value.bit_length() >> 6


class _CostMeter:
    """Computes the cost of a nested value; shared parts count each time they appear."""

    def __init__(self) -> None:
        self.items = 0
        self.text = 0

    def add(self, value: Any) -> int:
        if isinstance(value, str):
            self.text += len(value)
        elif isinstance(value, range):
            self._count(len(value))
        elif isinstance(value, Mapping):
            if len(value) > MAX_KEYS:
                raise NotAllowedError(f"makes a dictionary of more than {MAX_KEYS} keys")
            self._count(2 * len(value))
            for key, element in value.items():
                self.add(key)
                self.add(element)
        elif isinstance(value, list | tuple | set):
            self._count(len(value))
            for element in value:
                self.add(element)
        elif isinstance(value, int):
            self.text += _integer_size(value) << 4
        elif value is not None and not isinstance(value, float | slice):
            raise NotAllowedError(f"makes a {type(value).__name__}, which is not a data type")
        if self.text > MAX_TEXT:
            raise NotAllowedError(f"makes strings of more than {MAX_TEXT} characters together")
        return (self.items >> 2) + (self.text >> 6)

    def _count(self, number: int) -> None:
        self.items += number
        if self.items > MAX_ITEMS:
            raise NotAllowedError(f"makes a list of more than {MAX_ITEMS} elements", hint="use fewer elements")
