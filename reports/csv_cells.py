"""Formats the cells of a column as a matrix of bytes: each row is one cell, padded with zeros.

A few numpy calls join ten million cells and remove their padding, without a Python object for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Matrix: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
"""One row of ASCII bytes for each cell, padded with zeros."""

WIDEST = 64
"""Maximum length of texts in a matrix: one longer text would widen every row."""

ZERO, POINT, MINUS, COMMA, NEWLINE = b"0.-,\n"
DECIMALS = 6
SCALE = 10**DECIMALS
EXACT = 10**15
"""Below it an integer's digits are those of the float, and no shorter ones mean the same float."""

SHORTEST = 1e-4
"""Python writes smaller floats with an exponent."""


def digits(values: np.ndarray[Any, Any], count: int) -> Matrix:
    """Return the last ``count`` digits of integers that are not negative, leading zeros included."""
    found = np.empty((len(values), count), np.uint8)
    for place in range(count - 1, -1, -1):
        values, found[:, place] = np.divmod(values, 10)
    return found + np.uint8(ZERO)


def integers(values: np.ndarray[Any, Any]) -> Matrix:
    """Format integers like ``str``."""
    if values.min(initial=0) >= 0:
        return _strip_left(_all(values))
    return matrix(list(map(str, values.tolist())))


def _all(values: np.ndarray[Any, Any]) -> Matrix:
    return digits(values, len(str(values.max(initial=0))))


def _strip_left(numbers: Matrix) -> Matrix:
    """Remove leading zeros, except for the last digit."""
    nothing = np.logical_and.accumulate(numbers[:, :-1] == ZERO, axis=1)
    numbers[:, :-1][nothing] = 0
    return numbers


def floats(values: np.ndarray[Any, Any]) -> Matrix | None:
    """Format floats like ``repr``, NaN as empty; return None if any has more than six decimals."""
    known = ~np.isnan(values)
    sizes = np.where(known, np.abs(values), 0.0)
    if not (sizes < EXACT / SCALE).all():
        return None
    whole = np.rint(sizes * SCALE).astype(np.int64)
    if not (whole / SCALE == sizes).all():
        return None
    before, after = np.divmod(whole, SCALE)
    sign = np.where(np.signbit(values), MINUS, 0).astype(np.uint8)[:, None]
    found = beside([sign, _strip_left(_all(before)), constant(POINT, len(values)), _fraction(after)])
    small = (sizes < SHORTEST) & (whole != 0)
    if small.any():
        words = matrix(list(map(repr, values[small].tolist())))
        found[small] = 0
        found[small, : words.shape[1]] = words
    found[~known] = 0
    return found


def _fraction(millionths: np.ndarray[Any, Any]) -> Matrix:
    """Remove trailing zeros of decimals, except for the first one."""
    found = digits(millionths, DECIMALS)
    nothing = np.logical_and.accumulate(found[:, :0:-1] == ZERO, axis=1)[:, ::-1]
    found[:, 1:][nothing] = 0
    return found


def from_texts(words: Sequence[str]) -> Matrix | None:
    """Return texts as a matrix, or None if any is too long or not ASCII."""
    if max(map(len, words), default=0) > WIDEST:
        return None
    try:
        return matrix(words)
    except UnicodeEncodeError:
        return None


def matrix(words: Sequence[str]) -> Matrix:
    """Return texts as a matrix. Raises UnicodeEncodeError unless they are plain ASCII."""
    found = np.array(words, dtype=np.bytes_)
    return found.view(np.uint8).reshape(len(words), found.dtype.itemsize)


def to_texts(cells: Matrix) -> list[str]:
    """Return the cells of a matrix; zeros within them stay."""
    width = cells.shape[1]
    found: list[str] = np.ascontiguousarray(cells).view(f"S{width}").ravel().astype(f"U{width}").tolist()
    return found


def constant(character: int, count: int) -> Matrix:
    """Return one character in each of ``count`` rows."""
    return np.full((count, 1), character, np.uint8)


def beside(matrices: Sequence[Matrix]) -> Matrix:
    """Concatenate matrices horizontally."""
    return np.concatenate(matrices, axis=1)


def lines(columns: Sequence[Matrix | list[str]]) -> bytes:
    """Return the lines of a table's columns, each a matrix or texts without zeros: UTF-8, commas between cells.

    Characters that UTF-8 cannot encode are escaped.
    """
    matrices = [column for column in columns if not isinstance(column, list)]
    if len(matrices) == len(columns):
        return _joined(matrices)
    texts = [column if isinstance(column, list) else to_texts(column) for column in columns]
    text = "\n".join(map(",".join, zip(*texts, strict=True))) + "\n"
    return text.replace("\0", "").encode("utf-8", "backslashreplace")


def _joined(columns: Sequence[Matrix]) -> bytes:
    parts: list[Matrix] = []
    for column in columns:
        parts += [column, constant(COMMA, len(column))]
    parts[-1] = constant(NEWLINE, len(parts[-1]))
    return beside(parts).tobytes().translate(None, b"\0")
