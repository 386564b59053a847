"""The functions that an expression may call, each bounded in time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from eas.chains import formats
from eas.chains.limits import MAX_BITS, MAX_ITEMS, MAX_TEXT, NotAllowedError, cost
from eas.lightcurves import constants

CONSTANTS: Mapping[str, float] = MappingProxyType(constants.BY_NAME)
"""``constants``: day, month, year [days]; radii and ``phy_AU`` [m]; ``Rearth`` [Jupiter radii];
``plato_noise`` [relative flux, one 25 s sample]."""

VALUES: Mapping[str, float] = MappingProxyType({"pi": math.pi})
"""Constants available to expressions by name."""


def power(base: Any, exponent: Any, modulus: Any = None) -> Any:
    """Return ``pow(base, exponent, modulus)`` where the result stays small."""
    if modulus is not None:
        if any(not isinstance(each, int) or abs(each) >= 1 << 64 for each in (base, exponent, modulus)):
            raise NotAllowedError("takes a modular power of values other than small integers")
        return pow(base, exponent, modulus)
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 1:
        if (base.bit_length() - 1) * exponent > MAX_BITS:
            raise NotAllowedError(f"takes a power of more than {MAX_BITS} bits", hint="use smaller numbers, or floats")
    elif not isinstance(base, int | float) or not isinstance(exponent, int | float):
        raise TypeError(f"no power of {type(base).__name__} and {type(exponent).__name__}")
    return base**exponent


def multiply(left: Any, right: Any) -> Any:
    """Return ``left * right``, where a repeated string or list stays short."""
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(times, int):
            limit = MAX_TEXT if isinstance(sequence, str) else MAX_ITEMS
            if len(sequence) * times > limit:
                raise NotAllowedError(f"repeats a sequence to more than {limit} elements", hint="repeat it less often")
    return left * right


def contains(left: Any, right: Any) -> bool:
    """Return ``left in right``; refuse string searches whose worst case is slow."""
    if isinstance(left, str) and isinstance(right, str) and min(len(left), 100) * len(right) > 20 * MAX_TEXT:
        raise NotAllowedError("searches a long string", hint="use shorter strings")
    return left in right


def search_cost(left: Any, right: Any) -> int:
    """Return the steps of the worst case of ``left in right`` where both are strings, else 0."""
    if not (isinstance(left, str) and isinstance(right, str)):
        return 0
    return min(len(left), 100) * len(right) >> 10


def left_shift(left: int, right: int) -> int:
    """Return ``left << right`` where the result stays small."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right > MAX_BITS:
        raise NotAllowedError(f"shifts to more than {MAX_BITS} bits", hint="use smaller numbers")
    return left << right


def modulo(left: Any, right: Any) -> Any:
    """Return ``left % right``: a remainder, or a formatted string."""
    return formats.percent(left, right) if isinstance(left, str) else left % right


def _round(number: Any, ndigits: int | None = None) -> Any:
    if ndigits is None:
        return round(number)
    if not isinstance(ndigits, int) or abs(ndigits) > 400:
        raise NotAllowedError("rounds to more than 400 digits", hint="round to fewer digits")
    return round(number, ndigits)


def _int(value: Any = 0, base: int | None = None) -> int:
    _short_text(value)
    return int(value) if base is None else int(value, base)


def _float(value: Any = 0.0) -> float:
    _short_text(value)
    return float(value)


def _short_text(value: Any) -> None:
    if isinstance(value, str) and len(value) > 1300:
        raise NotAllowedError("converts a string of more than 1300 characters to a number")


def _str(value: Any = "") -> str:
    return str(value)


def _sum(values: Iterable[Any], start: Any = 0) -> Any:
    total = start
    for value in values:
        if not isinstance(value, int | float):
            raise TypeError(f"cannot sum a {type(value).__name__}: numbers only")
        total = total + value
    return total


def _range(*bounds: int) -> range:
    if not all(isinstance(each, int) and abs(each) < 1 << 62 for each in bounds):
        raise TypeError("range takes integers of up to 62 bits")
    made = range(*bounds)
    if len(made) > MAX_ITEMS:
        raise NotAllowedError(f"makes a range of more than {MAX_ITEMS} elements", hint="use a shorter range")
    return made


def _factorial(number: int) -> int:
    if number > 500:
        raise NotAllowedError("takes the factorial of more than 500", hint="use lgamma for the logarithm of large ones")
    return math.factorial(number)


def _comb(number: int, chosen: int) -> int:
    _small_choice(number, min(chosen, abs(number - chosen)))
    return math.comb(number, chosen)


def _perm(number: int, chosen: int | None = None) -> int:
    _small_choice(number, number if chosen is None else chosen)
    return math.perm(number, chosen)


def _small_choice(number: int, chosen: int) -> None:
    if chosen * number.bit_length() > 2 * MAX_BITS:
        raise NotAllowedError("counts too many combinations", hint="use lgamma for their logarithm")


def _prod(values: Iterable[Any], *, start: Any = 1) -> Any:
    total = start
    for value in values:
        if not isinstance(value, int | float):
            raise TypeError(f"cannot multiply a {type(value).__name__}: numbers only")
        total = total * value
        cost(total)
    return total


def _lcm(*values: int) -> int:
    total = 1
    for value in values:
        total = math.lcm(total, value)
        cost(total)
    return total


_OWN_MATH: dict[str, Callable[..., Any]] = {
    "factorial": _factorial,
    "comb": _comb,
    "perm": _perm,
    "prod": _prod,
    "lcm": _lcm,
}
MATH: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        name: value
        for name, value in vars(math).items()
        if callable(value) and not name.startswith("_") and name != "pow"
    }
    | _OWN_MATH
)
"""``math``'s functions; ``pow`` is the builtin one, which keeps integers integers."""

FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **MATH,
        "pow": power,
        "abs": abs,
        "min": min,
        "max": max,
        "round": _round,
        "int": _int,
        "float": _float,
        "str": _str,
        "len": len,
        "sum": _sum,
        "range": _range,
        "sorted": sorted,
        "bool": bool,
        "reversed": lambda values: list(reversed(values)),
        "map": map,
    }
)
"""Functions that an expression calls by name."""

RANDOM = frozenset(
    {
        *("random", "uniform", "randint", "gauss", "choice", "normalvariate", "randrange", "triangular"),
        *("expovariate", "lognormvariate", "betavariate", "gammavariate", "choices", "sample"),
        *("paretovariate", "weibullvariate", "vonmisesvariate"),
    }
)
"""Methods of ``random`` that an expression may call."""
_REJECTING = {"betavariate", "gammavariate", "vonmisesvariate"}


def call_random(generator: Random, name: str, arguments: list[Any], named: Mapping[str, Any]) -> Any:
    """Return a random number from ``generator``; refuse arguments for which drawing may not terminate."""
    for value in (*arguments, *named.values()):
        if isinstance(value, float) and not math.isfinite(value):
            raise NotAllowedError(f"gives random.{name} a number that is not finite")
        # These use rejection sampling, which practically never ends for extreme parameters.
        if name in _REJECTING and not (isinstance(value, int | float) and 1e-6 <= value <= 1e6):
            raise NotAllowedError(f"gives random.{name} a parameter outside 1e-6 to 1e6")
    if name in ("choices", "sample"):
        _check_draws(name, arguments, named)
    return getattr(generator, name)(*arguments, **named)


def draw_cost(name: str, arguments: list[Any], named: Mapping[str, Any]) -> int:
    """Return the steps to charge for drawing elements by ``random.name``, without arguments and result."""
    count = _draws(name, arguments, named) if name in ("choices", "sample") else 0
    return count >> 1 if isinstance(count, int) and count > 0 else 0


def _draws(name: str, arguments: list[Any], named: Mapping[str, Any]) -> Any:
    position = 1 if name == "sample" else 3
    return named.get("k", arguments[position] if len(arguments) > position else 1)


def _check_draws(name: str, arguments: list[Any], named: Mapping[str, Any]) -> None:
    count = _draws(name, arguments, named)
    if not isinstance(count, int) or not 0 <= count <= MAX_ITEMS:
        raise NotAllowedError(f"draws a number of elements outside 0 to {MAX_ITEMS} by random.{name}")
    for weights in (named.get("weights"), named.get("cum_weights"), named.get("counts"), *arguments[1:3]):
        if isinstance(weights, list | tuple) and not all(isinstance(each, int | float) for each in weights):
            raise NotAllowedError(f"gives random.{name} weights that are no numbers")
