"""The functions and methods that an expression may call, each bounded in time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from eas.chains import formats
from eas.chains.limits import MAX_BITS, MAX_ITEMS, MAX_KEYS, MAX_TEXT, RefusedError, size

CONSTANTS: Mapping[str, float] = MappingProxyType(
    {
        "day": 1,
        "month": 28,
        "year": 365.25,
        "sun_radius": 695500e3,
        "earth_radius": 6371e3,
        "jupiter_radius": 71492e3,
        "phy_AU": 149597870700,
        "Rearth": 0.08911486,
        "plato_noise": 0.000315,
    }
)
"""``constants``: day, month, year [days]; radii and ``phy_AU`` [m]; ``Rearth`` [Jupiter radii];
``plato_noise`` [relative flux, one 25 s sample]."""

VALUES: Mapping[str, float] = MappingProxyType(
    {"pi": math.pi, "e": math.e, "tau": math.tau, "inf": math.inf, "nan": math.nan}
)
"""Numbers that an expression sees by name."""


def power(base: Any, exponent: Any, modulus: Any = None) -> Any:
    """Return ``pow(base, exponent, modulus)`` where the result stays small."""
    if modulus is not None:
        if any(not isinstance(each, int) or abs(each) >= 1 << 64 for each in (base, exponent, modulus)):
            raise RefusedError("takes a modular power of something else than small integers")
        return pow(base, exponent, modulus)
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 1:
        if (base.bit_length() - 1) * exponent > MAX_BITS:
            raise RefusedError(f"takes a power of more than {MAX_BITS} bits", cure="use smaller numbers, or floats")
    elif not isinstance(base, int | float) or not isinstance(exponent, int | float):
        raise TypeError(f"no power of {type(base).__name__} and {type(exponent).__name__}")
    return base**exponent


def multiply(left: Any, right: Any) -> Any:
    """Return ``left * right``, where a repeated string or list stays short."""
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(times, int):
            limit = MAX_TEXT if isinstance(sequence, str) else MAX_ITEMS
            if len(sequence) * times > limit:
                raise RefusedError(f"repeats something to more than {limit} elements", cure="repeat it less often")
    return left * right


def add(left: Any, right: Any) -> Any:
    """Return ``left + right``; the sum of two allowed values is checked by the evaluator."""
    return left + right


def left_shift(left: int, right: int) -> int:
    """Return ``left << right`` where the result stays small."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right > MAX_BITS:
        raise RefusedError(f"shifts to more than {MAX_BITS} bits", cure="use smaller numbers")
    return left << right


def modulo(left: Any, right: Any) -> Any:
    """Return ``left % right``: a remainder, or a formatted string."""
    return formats.percent(left, right) if isinstance(left, str) else left % right


def _round(number: Any, ndigits: int | None = None) -> Any:
    if ndigits is None:
        return round(number)
    if not isinstance(ndigits, int) or abs(ndigits) > 400:
        raise RefusedError("rounds to more than 400 digits", cure="round to fewer digits")
    return round(number, ndigits)


def _int(value: Any = 0, base: int | None = None) -> int:
    _short_text(value)
    return int(value) if base is None else int(value, base)


def _float(value: Any = 0.0) -> float:
    _short_text(value)
    return float(value)


def _short_text(value: Any) -> None:
    if isinstance(value, str) and len(value) > 1300:
        raise RefusedError("converts a string of more than 1300 characters to a number")


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
        raise RefusedError(f"makes a range of more than {MAX_ITEMS} elements", cure="use a shorter range")
    return made


def _dict(pairs: Any = (), **named: Any) -> dict[Any, Any]:
    if len(pairs) > MAX_KEYS:
        raise RefusedError(f"makes a dictionary of more than {MAX_KEYS} keys")
    return dict(pairs, **named)


def _factorial(number: int) -> int:
    if number > 500:
        raise RefusedError("takes the factorial of more than 500", cure="use lgamma for the logarithm of large ones")
    return math.factorial(number)


def _comb(number: int, chosen: int) -> int:
    _small_choice(number, min(chosen, abs(number - chosen)))
    return math.comb(number, chosen)


def _perm(number: int, chosen: int | None = None) -> int:
    _small_choice(number, number if chosen is None else chosen)
    return math.perm(number, chosen)


def _small_choice(number: int, chosen: int) -> None:
    if chosen * number.bit_length() > 2 * MAX_BITS:
        raise RefusedError("counts too many combinations", cure="use lgamma for their logarithm")


def _prod(values: Iterable[Any], *, start: Any = 1) -> Any:
    total = start
    for value in values:
        if not isinstance(value, int | float):
            raise TypeError(f"cannot multiply a {type(value).__name__}: numbers only")
        total = total * value
        size(total)
    return total


def _lcm(*values: int) -> int:
    total = 1
    for value in values:
        total = math.lcm(total, value)
        size(total)
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
        "list": list,
        "tuple": tuple,
        "dict": _dict,
        "any": any,
        "all": all,
        "divmod": divmod,
        "enumerate": lambda values, start=0: [[i, value] for i, value in enumerate(values, start)],
        "zip": lambda *many: [list(each) for each in zip(*many, strict=False)],
    }
)
"""Functions that an expression calls by name."""

RANDOM = frozenset(
    {
        *("random", "uniform", "randint", "gauss", "choice", "normalvariate", "randrange", "triangular"),
        *("expovariate", "lognormvariate", "betavariate"),
    }
)
"""Methods of ``random`` that an expression may call."""


def call_random(generator: Random, name: str, arguments: list[Any], named: Mapping[str, Any]) -> Any:
    """Return a random number from ``generator``; arguments that would never end are refused."""
    for value in (*arguments, *named.values()):
        if isinstance(value, float) and not math.isfinite(value):
            raise RefusedError(f"gives random.{name} a number that is not finite")
        if name == "betavariate" and not 1e-6 <= value <= 1e6:
            raise RefusedError("gives random.betavariate a parameter outside 1e-6 to 1e6")
    return getattr(generator, name)(*arguments, **named)


def _join(text: str, parts: Any) -> str:
    if (len(text) + 1) * len(parts) + sum(len(each) for each in parts) > 2 * MAX_TEXT:
        raise RefusedError(f"joins strings to more than {MAX_TEXT} characters")
    return text.join(parts)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    if text.count(old) * len(new) > MAX_TEXT:
        raise RefusedError(f"replaces to more than {MAX_TEXT} characters")
    return text.replace(old, new, count)


def _padded(name: str) -> Callable[..., str]:
    method = getattr(str, name)

    def pad(text: str, width: int, *fill: str) -> str:
        if width > MAX_TEXT:
            raise RefusedError(f"pads to more than {MAX_TEXT} characters")
        padded: str = method(text, width, *fill)
        return padded

    return pad


_PLAIN_STR = [
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii",
    "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle",
    "isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rfind", "rindex",
    "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title",
    "upper",
]  # fmt: skip

METHODS: Mapping[type, Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        str: {
            **{name: getattr(str, name) for name in _PLAIN_STR},
            **{name: _padded(name) for name in ("center", "ljust", "rjust", "zfill")},
            "join": _join,
            "replace": _replace,
            "format": lambda text, *arguments, **named: formats.render(text, arguments, named),
            "format_map": lambda text, mapping: formats.render(text, (), mapping),
        },
        dict: {
            "get": lambda mapping, key, default=None: mapping.get(key, default),
            "keys": lambda mapping: list(mapping.keys()),
            "values": lambda mapping: list(mapping.values()),
            "items": lambda mapping: [list(each) for each in mapping.items()],
            "copy": dict,
        },
        list: {"index": list.index, "count": list.count, "copy": list},
        tuple: {"index": tuple.index, "count": tuple.count},
        float: {"is_integer": float.is_integer},
        int: {"bit_length": int.bit_length},
    }
)
"""By type, the methods that an expression may call: none changes what it is called on."""

METHOD_NAMES = frozenset(name for methods in METHODS.values() for name in methods)
