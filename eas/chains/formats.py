"""Formatting of strings with bounded results: ``str.format``, f-strings and ``%``.

Python's own formatting accesses attributes of objects (``{x.__class__}``) and creates strings of any length
(``{:>1000000000}``); this module allows only plain fields and bounded widths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any, NamedTuple

from eas.chains.limits import MAX_FORMAT, MAX_TEXT, MAX_WIDTH, NotAllowedError, cost
from eas.names import closest_names

_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?z?#?0?(\d*)[,_]?(?:\.(\d+))?[bcdeEfFgGnosxX%]?", re.DOTALL)
_FIELD = re.compile(r"([^\[\].]*)((?:\[[^\[\]]*\])*)")
_PERCENT = re.compile(r"%(?:%|(?:\(([^()]*)\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?[hlL]?([diouxXeEfFgGcrsa]))|(%)")
_CONVERSIONS: dict[str | None, Callable[[Any], Any]] = {"s": str, "r": repr, "a": ascii}
_LONGEST_NUMBER = 1_300
"""Maximum length of a formatted number [characters]."""


class Field(NamedTuple):
    """A piece of a template: literal text, then (where ``key`` is not None) a field."""

    literal: str
    key: str | int | None
    indices: tuple[str | int, ...]
    spec: str
    conversion: str | None


# A loop formats by the same text each time: without the cache, planning large demo_jobs takes 3 to 12 % longer.
@lru_cache(maxsize=4096)
def template(text: str) -> tuple[Field, ...]:
    """Return the pieces of a ``str.format`` template, or raise NotAllowedError."""
    _not_too_long(text)
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as error:
        raise NotAllowedError(f"the format {_short(text)} is malformed: {error}", hint="braces come in pairs") from None
    fields = []
    automatic = 0
    for literal, name, spec, conversion in pieces:
        if name is None:
            fields.append(Field(literal, None, (), "", None))
            continue
        key, indices = _split_field(name)
        if key == "":
            key, automatic = automatic, automatic + 1
        elif isinstance(key, int) and automatic:
            raise NotAllowedError("mixes numbered and unnumbered fields in a format", hint="number all of them or none")
        fields.append(Field(literal, key, indices, _checked_spec(spec or ""), conversion or None))
    return tuple(fields)


def _split_field(name: str) -> tuple[str | int, tuple[str | int, ...]]:
    found = _FIELD.fullmatch(name)
    if found is None or name.startswith("__") or not (not found[1] or f"a{found[1]}".isidentifier()):
        raise NotAllowedError(
            f"the field {{{_short(name)}}} is not a plain name", hint="use {name} or {name[key]}, without attributes"
        )
    indices = tuple(_index(each) for each in found[2][1:-1].split("][")) if found[2] else ()
    return (int(found[1]) if found[1].isdecimal() and len(found[1]) < 6 else found[1]), indices


def _index(text: str) -> str | int:
    if text.startswith("_") or not text:
        raise NotAllowedError(
            f"the index [{_short(text)}] is not allowed in a format", hint="use a plain key or number"
        )
    return int(text) if text.isdecimal() and len(text) < 6 else text


def _checked_spec(spec: str) -> str:
    if not spec:
        return spec
    if "{" in spec:
        raise NotAllowedError("nests a field in a format specification", hint="write the width as a number")
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise NotAllowedError(
            f"the format specification {_short(spec)} is not understood", hint="for example :03d or :.2f"
        )
    _bounded(found[1])
    _bounded(found[2])
    return spec


def _bounded(digits: str | None) -> None:
    if digits and (len(digits) > 9 or int(digits) > MAX_WIDTH):
        raise NotAllowedError(
            f"a format asks for a width or precision of more than {MAX_WIDTH}", hint="use a smaller one"
        )


def render(text: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return ``text.format(*arguments, **named)``, with fields as ``template`` allows them."""
    parts = []
    total = 0
    for literal, key, indices, spec, conversion in template(text):
        if literal:
            parts.append(literal)
            total += len(literal)
        if key is None:
            continue
        value = _lookup(key, arguments, named)
        for index in indices:
            value = _element(value, index)
        part = format_value(value, spec, conversion)
        total += len(part)
        if total > MAX_TEXT:
            raise NotAllowedError(f"makes a string of more than {MAX_TEXT} characters")
        parts.append(part)
    return "".join(parts)


def _lookup(key: str | int, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
    if isinstance(key, int):
        if key >= len(arguments):
            raise NotAllowedError(
                f"the format uses argument {key}, but only {len(arguments)} are given", hint="name the fields"
            )
        return arguments[key]
    if key not in named:
        raise unknown_key(key, named, "format")
    return named[key]


def _element(value: Any, index: str | int) -> Any:
    if isinstance(value, Mapping | list | tuple):
        try:
            return value[index]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            pass
    raise NotAllowedError(f"there is no element [{index}] for the format")


def unknown_key(key: object, known: Mapping[str, Any], where: str) -> NotAllowedError:
    """Return the error for a key that ``known`` does not have, naming the nearest ones."""
    names = sorted(str(name) for name in known)
    near = closest_names(str(key), names, cutoff=0.5)
    if near:
        hint = f"nearest keys: {', '.join(near)}"
    else:
        hint = f"known keys: {', '.join(names[:20])}" if names else "no keys are known here"
    return NotAllowedError(f"{where} has no key {_short(str(key))!r}", hint=hint)


def format_value(value: Any, spec: str, conversion: str | None = None) -> str:
    """Return ``value`` formatted by ``spec``, whose width is bounded."""
    if conversion:
        value = _CONVERSIONS[conversion](value)
    if not spec:
        cost(value)
        return str(value)
    if not isinstance(value, int | float | str):
        raise NotAllowedError(
            f"a {type(value).__name__} takes no format specification", hint="format numbers or strings"
        )
    return format(value, _checked_spec(spec))


def percent(text: str, values: Any) -> str:
    """Return ``text % values``, bounded."""
    fields, width = percent_fields(text)
    weight = len(str(values)) if fields else 0
    if fields * (width + weight + _LONGEST_NUMBER) + len(text) > 10 * MAX_TEXT:
        raise NotAllowedError(f"makes a string of more than {MAX_TEXT} characters")
    formatted: str = text % values
    return formatted


# Without the cache, evaluating ('lc_%d_%d.gz' % (...)) takes 60 % longer.
@lru_cache(maxsize=4096)
def percent_fields(text: str) -> tuple[int, int]:
    """Return the number of fields of a ``%`` format and its widest; raise NotAllowedError if it is not allowed."""
    _not_too_long(text)
    number = widest = 0
    for found in _PERCENT.finditer(text):
        if found[5]:
            raise NotAllowedError(f"the % format {_short(text)} is malformed", hint="write %% for a percent sign")
        if "*" in (found[2], found[3]):
            raise NotAllowedError("takes a width from its values (*)", hint="write the width as a number")
        for digits in (found[2], found[3]):
            _bounded(digits)
            widest = max(widest, int(digits or 0))
        number += found[4] is not None
    return number, 2 * widest


def parsing_cost(text: Any) -> int:
    """Return the number of steps to charge for parsing a format string; 0 for other values."""
    return len(text) >> 3 if isinstance(text, str) else 0


def _not_too_long(text: str) -> None:
    if len(text) > MAX_FORMAT:
        raise NotAllowedError(f"formats by a string of more than {MAX_FORMAT} characters", hint="use a shorter one")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
