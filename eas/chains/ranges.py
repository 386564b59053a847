"""The values that a for-loop runs over."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from eas.chains.json_reader import json_type_name
from eas.chains.limits import NotAllowedError, finite

RANGES = ("values", "linear_range", "log_range")
MAX_VALUES = 1_000_000
"""Maximum number of values of one loop."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,299})(\.\d{1,300})?([eE][+-]?\d{1,9})?", re.ASCII)


def loop_values(settings: Mapping[str, Any]) -> list[Any]:
    """Return the values of a for-loop from its evaluated settings.

    Raises NotAllowedError if there is not exactly one of ``values``, ``linear_range`` and ``log_range``,
    or its value is invalid.
    """
    name = range_name(settings)
    given = settings[name]
    if isinstance(given, list):
        given, _ = read_numbers(given)
    if name == "values":
        return list(_checked_values(given))
    first, last, number = _checked_range(name, given)
    if name == "linear_range":
        return _spaced(first, last, number)
    if first <= 0 or last <= 0:
        raise NotAllowedError("log_range has a bound that is not above 0", hint="use positive bounds, or linear_range")
    return [first, *(10.0**each for each in _spaced(math.log10(first), math.log10(last), number)[1:-1]), last][:number]


def range_name(settings: Mapping[str, Any]) -> str:
    """Return the key of the range that a for-loop gives, or raise NotAllowedError."""
    given = [name for name in RANGES if name in settings]
    if len(given) == 1:
        return given[0]
    what = f"gives {' and '.join(given)}" if given else "gives no values to loop over"
    raise NotAllowedError(what, hint=f"give exactly one of {', '.join(RANGES)}")


def read_numbers(given: list[Any]) -> tuple[list[Any], list[str]]:
    """Return ``given`` with numbers for the strings that are numbers (as JSON writes them), and these strings."""
    quoted = {each: number for each in given if isinstance(each, str) and (number := _number(each)) is not None}
    if not quoted:
        return given, []
    return [quoted.get(each, each) if isinstance(each, str) else each for each in given], list(quoted)


def quoted_numbers(strings: list[str]) -> tuple[str, str]:
    """Return the warning of strings that are read as numbers, and the hint."""
    shown = ", ".join(repr(each[:20]) for each in strings[:3]) + (", ..." if len(strings) > 3 else "")
    return f"strings that are numbers ({shown}) are read as numbers", "write numbers without quotes"


def _number(text: str) -> int | float | None:
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    value = float(found[0]) if found[1] or found[2] else int(found[0])
    return value if math.isfinite(value) else None


def _checked_values(given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise NotAllowedError(f"values is {json_type_name(given)}", hint="give a list of values")
    for index, value in enumerate(given):
        if value is not None and not isinstance(value, int | float | str):
            raise NotAllowedError(
                f"values[{index}] is {json_type_name(value)}", hint="loop over numbers, strings or booleans"
            )
    return given


def _checked_range(name: str, given: Any) -> tuple[float, float, int]:
    hint = "give [a, b, n]: the first value, the last value and how many"
    if not isinstance(given, list) or len(given) != 3:
        what = f"a list of {len(given)}" if isinstance(given, list) else json_type_name(given)
        raise NotAllowedError(f"{name} is {what}", hint=hint)
    for index, bound in enumerate(given[:2]):
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not finite(bound):
            raise NotAllowedError(f"{name}[{index}] is {json_type_name(bound)}, which is no bound", hint=hint)
    number = given[2]
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_VALUES:
        raise NotAllowedError(
            f"{name}[2] is {number!r}, which is no number of values", hint=f"give an integer from 1 to {MAX_VALUES}"
        )
    return float(given[0]), float(given[1]), number


def _spaced(first: float, last: float, number: int) -> list[float]:
    """Return ``number`` values in equal steps, both ends exact."""
    if number == 1:
        return [first]
    # Halved, because the difference of two bounds may overflow a float.
    step = 2 * ((last / 2 - first / 2) / (number - 1))
    return [first, *(first + i * step for i in range(1, number - 1)), last]
