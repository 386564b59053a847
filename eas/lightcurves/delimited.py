"""Reads delimited tables of numbers: a fast path for plain files, a tolerant one for files of spreadsheets."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from eas.lightcurves.columns import FLAG, LATEST, TIME
from eas.lightcurves.lightcurve import FloatArray, LightCurveError

SEPARATORS: Final = (";", "\t", ",", "|")
MISSING: Final = ("", "nan", "na", "n/a", "#n/a", "null", "none", "--", "-")
"""Cells that mean "no value", in lower case."""
BOOLEANS: Final = {"true": 1.0, "false": 0.0}
MAX_SHOWN_CHARS: Final = 40


class Table(NamedTuple):
    """Columns by name, shape (n,) each, and whether numbers had decimal commas."""

    values: Mapping[str, FloatArray]
    decimal_commas: bool = False


def separator_of(row: str) -> str | None:
    """Return the character that separates the values of a row; None for white space."""
    return next((each for each in SEPARATORS if each in row), None)


def split(row: str, separator: str | None) -> list[str]:
    """Return the values of a row, without blanks and quotation marks around them."""
    if separator is not None and '"' in row:
        return [each.strip() for each in next(csv.reader([row], delimiter=separator, skipinitialspace=True))]
    return [each.strip() for each in row.split(separator)]


def read_table(
    name: str,
    rows: Sequence[str],
    line_numbers: Sequence[int],
    headings: Sequence[str],
    column_indices: Mapping[str, int],
    expected: str,
) -> Table:
    """Return the columns at ``column_indices`` of ``rows``, which have as many values as ``headings``.

    Missing values are NaN; times and flags are required. ``line_numbers`` are the rows' line numbers in the file
    ``name``, and ``expected`` is the hint, both for errors.

    Raises
    ------
    LightCurveError
        A row has another number of values, or a value is not a number; the message gives its line.
    """
    separator = separator_of(rows[0])
    try:
        table = np.loadtxt(io.StringIO("\n".join(rows)), np.float64, delimiter=separator, ndmin=2, comments=None)
    except ValueError:
        table = np.empty((0, 0))
    if table.shape == (len(rows), len(headings)) and (np.abs(table[:, column_indices[TIME]]) < LATEST).all():
        return Table({role: np.ascontiguousarray(table[:, place]) for role, place in column_indices.items()})
    return _read_slowly(name, rows, line_numbers, len(headings), column_indices, expected)


def _read_slowly(
    name: str,
    rows: Sequence[str],
    numbers: Sequence[int],
    width: int,
    places: Mapping[str, int],
    expected: str,
) -> Table:
    separator = separator_of(rows[0])
    values: dict[str, list[float]] = {role: [] for role in places}
    commas = False
    for row, number in zip(rows, numbers, strict=True):
        fields = split(row.partition(" #")[0], separator)
        while len(fields) > width and not fields[-1]:
            fields.pop()
        if len(fields) != width:
            raise LightCurveError(f"{name}, line {number}: has {len(fields)} columns, not {width}", hint=expected)
        for role, place in places.items():
            text = fields[place]
            if separator != "," and "," in text:
                text, commas = text.replace(",", "."), True
            try:
                values[role].append(_number(role, text))
            except ValueError as error:
                raise LightCurveError(f"{name}, line {number}: {error}", hint=expected) from error
    return Table({role: np.array(column) for role, column in values.items()}, commas)


def _number(role: str, text: str) -> float:
    lower = text.lower()
    if role == FLAG and lower in BOOLEANS:
        return BOOLEANS[lower]
    if lower in MISSING and role not in (TIME, FLAG):
        return math.nan
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"the {role} {text[:MAX_SHOWN_CHARS]!r} is not a number") from None
    if role == TIME and not abs(number) < LATEST:
        raise ValueError(f"the time is {text}")
    return number
