"""Metadata in the comments of light curve files: lines ``# #key=value``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from eas.model import Scalar

_MARK: Final = re.compile(r"\s*#\s*#")
_LONGEST: Final = 10_000
"""Maximum length of a metadata line [characters]; longer lines are plain comments."""
_LONGEST_QUANTITY: Final = 100
_LARGEST: Final = 2**63
"""Integers with a larger absolute value stay text, because databases cannot store them."""
_PADDING: Final = ",;\t "
"""Separators that spreadsheets append to fill up columns."""
_QUANTITY: Final = re.compile(
    r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*(?:[\[(]\s*(.*?)\s*[\])]|(.*))", re.DOTALL
)
_UNIT: Final = re.compile(r"[A-Za-z%][\w%./^*-]*(?: radii)?")

TARGET: Final = "orbital_period"
_TIME_UNITS: Final = {
    **dict.fromkeys(("", "d", "day", "days"), 1.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 1 / 24),
    **dict.fromkeys(("min", "minute", "minutes"), 1 / 1440),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1 / 86400),
    **dict.fromkeys(("yr", "year", "years"), 365.25),
}
_RADII: Final = dict.fromkeys(("", "rjup", "r_jup", "jupiter radii"), 1.0)
_SECONDS: Final = {unit: factor * 86400 for unit, factor in _TIME_UNITS.items() if unit} | {"": 1.0}
_DIMENSIONLESS: Final = {"": 1.0}
NUMBERS: Final[dict[str, tuple[str, Mapping[str, float]]]] = {
    **dict.fromkeys((TARGET, "duration", "t0"), ("days", _TIME_UNITS)),
    **dict.fromkeys(("star_radius", "planet_radius"), ("Jupiter radii", _RADII)),
    "semi_major_axis": ("AU", {"": 1.0, "au": 1.0}),
    "orbital_angle": ("degrees", dict.fromkeys(("", "deg", "degree", "degrees"), 1.0)),
    "sampling_cadence": ("s", _SECONDS),
    **dict.fromkeys(("eccentricity", "impact_parameter", "noise", "mes_assume_noise", "mes"), ("", _DIMENSIONLESS)),
    **dict.fromkeys(("integrated_transit_power", "pixels_in_transit", "pixels_out_of_transit"), ("", _DIMENSIONLESS)),
}
"""Metadata that must be numbers: name to unit, and the conversion factors of accepted units."""


def parse(line: str) -> tuple[str, Scalar] | None:
    """Return the name and the value in a comment line, or None where it is just a comment.

    Numbers, ``true``, ``false`` and ``null`` are read as in JSON; NaN and infinities count as missing (None);
    anything else is text, with or without quotation marks. Separators appended by spreadsheets are ignored.
    """
    mark = _MARK.match(line)
    if mark is None or len(line) > _LONGEST:
        return None
    name, equals, text = line[mark.end() :].rstrip(_PADDING + "\r\n").partition("=")
    return (name.strip(), _value(text.strip())) if equals and name.strip() else None


def _value(text: str) -> Scalar:
    for reader in (json.loads, float):
        try:
            value = reader(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            return text
        if value is None or isinstance(value, int | float | str):
            return value
    return {"True": True, "False": False, "None": None}.get(text, text)


def collect(lines: Iterable[str]) -> tuple[dict[str, Scalar], list[str]]:
    """Return the metadata in comment lines, and a warning for each value that had to be interpreted.

    Metadata in `NUMBERS` are converted to numbers, also with a unit (``3 d``) or a decimal comma; values that
    cannot be converted stay text, with a warning.
    """
    found: dict[str, Scalar] = {}
    warnings: list[str] = []
    for line in lines:
        pair = parse(line)
        if pair is None:
            if _name(line.strip("# \t").partition("=")[0].partition(":")[0]) == TARGET:
                warnings.append(f"the comment {line.strip()[:60]!r} is not metadata: write '# #{TARGET}=3' for 3 days")
            continue
        name, value = convert(*pair, warnings)
        if name in found and found[name] != value:
            warnings.append(f"{name} is given twice: {found[name]!r} and {value!r}, which counts")
        found[name] = value
    return found, warnings


def convert(name: str, value: Scalar, warnings: list[str]) -> tuple[str, Scalar]:
    """Return name and value converted to the required type; append changes to ``warnings``."""
    known = _name(name)
    if known not in NUMBERS:
        if isinstance(value, str) and _is_quantity(value):
            warnings.append(f"{name} is the text {value!r}: if it is to be a number, give it without quotes and unit")
        return name, value
    if known != name:
        warnings.append(f"{name!r} is read as {known}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return known, value
    unit, units = NUMBERS[known]
    number = _quantity(value, units) if isinstance(value, str) else None
    if number is not None:
        warnings.append(f"{known} is {value!r}: read as {number:g} {unit}".rstrip())
        return known, number
    expected = f"a number of {unit}" if unit else "a number"
    warnings.append(f"{known} is {value!r}, not {expected}: write '# #{known}=3'")
    return known, value


def _name(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _quantity(text: str, units: Mapping[str, float]) -> float | None:
    matched = _match_quantity(text.strip())
    if not matched:
        return None
    factor = units.get((matched[2] or matched[3] or "").strip().lower())
    return None if factor is None else float(matched[1].replace(",", ".")) * factor


def _match_quantity(text: str) -> re.Match[str] | None:
    """Match a number with a unit. The length is limited, because matching long texts is slow."""
    return _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_QUANTITY else None


def _is_quantity(text: str) -> bool:
    matched = _match_quantity(text.strip())
    if not matched:
        return False
    unit = matched[2] or matched[3]
    apart = matched[2] is not None or text.strip()[matched.end(1) : matched.end(1) + 1].isspace()
    return unit == "" or (apart and bool(_UNIT.fullmatch(unit)))


def parse_head(text: bytes) -> tuple[dict[str, Scalar], list[str]]:
    """Return the metadata in the comment lines that a file begins with, and warnings as `collect` does."""
    lines: list[str] = []
    begin = 0
    while text.startswith(b"#", begin):
        end = text.find(b"\n", begin)
        end = len(text) if end < 0 else end
        lines.append(text[begin:end].decode("utf-8", "replace"))
        begin = end + 1
    return collect(lines)


def to_lines(metadata: Mapping[str, Scalar]) -> bytes:
    """Return the comment lines that `parse_head` reads back as ``metadata``, in ASCII."""
    return "".join(f"# #{name}={json.dumps(value)}\n" for name, value in metadata.items()).encode("ascii", "replace")
