"""Light curves as PLATO's light curve stitching group (LCSG) writes them.

CSV, gzipped or not: time [days], relative flux, flag (0 good, anything else bad). Comment lines
``# #key=value`` are metadata; other comments, blank lines and a heading are skipped.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from eas.lightcurves import comments
from eas.lightcurves.lightcurve import BAD, GOOD, FloatArray, LightCurve, LightCurveError
from eas.model import Scalar

Reader: TypeAlias = Callable[[Path], LightCurve]
"""What reads a light curve of some format from a file."""

COLUMNS: Final = ("time", "flux", "flag")
GZIP: Final = b"\x1f\x8b"
CURE: Final = "each line has three values: time [days], relative flux, flag (0 good)"


def read(path: Path) -> LightCurve:
    """Read the light curve in ``path``, with the metadata in its comments.

    A flux that is not finite is no measurement: flagged bad, whatever the flag says.

    Raises
    ------
    LightCurveError
        The file cannot be read or is damaged, or a line is not three numbers, or a time does not
        come after the one before it; the message gives the file's name and the line.
    """
    lines = _text(path).split("\n")
    metadata: dict[str, Scalar] = {}
    rows: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if stripped.startswith("#"):
            if pair := comments.parse(line):
                metadata[pair[0]] = pair[1]
        elif stripped and not (not rows and _is_heading(stripped)):
            rows.append(stripped)
            numbers.append(number)
    if not rows:
        raise LightCurveError(f"{path.name}: holds no samples", cure=CURE)
    times, fluxes, flags = _table(path, rows, numbers).T
    late = ~(np.diff(times) > 0)
    if late.any():
        index = int(np.argmax(late)) + 1
        raise LightCurveError(
            f"{path.name}, line {numbers[index]}: the time {times[index]:g} does not come after {times[index - 1]:g}",
            cure="sort the file by time, without repeated or missing times",
        )
    bad = (flags != 0) | ~np.isfinite(fluxes)
    return LightCurve(times, fluxes, np.where(bad, BAD, GOOD), metadata=metadata)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
        return content.decode("utf-8")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LightCurveError(f"{path.name}: is a damaged gzip file: {error}", cure="copy it here again") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LightCurveError(f"{path.name}, line {line}: is not text", cure=CURE) from error
    except OSError as error:
        raise LightCurveError(f"{path.name}: cannot be read: {error.strerror}", cure="see who may read it") from error


def _table(path: Path, rows: list[str], numbers: list[int]) -> FloatArray:
    try:
        table = np.loadtxt(io.StringIO("\n".join(rows)), np.float64, delimiter=",", ndmin=2, comments=None)
    except ValueError:
        table = np.empty((0, 0))
    if table.shape == (len(rows), len(COLUMNS)) and np.isfinite(table[:, 0]).all():
        return table
    for row, number in zip(rows, numbers, strict=True):
        if wrong := _wrong(row.split(",")):
            raise LightCurveError(f"{path.name}, line {number}: {wrong}", cure=CURE)
    raise LightCurveError(f"{path.name}: is not a table of three columns", cure=CURE)


def _wrong(fields: list[str]) -> str:
    if len(fields) != len(COLUMNS):
        return f"has {len(fields)} columns, not {len(COLUMNS)}"
    for name, value in zip(COLUMNS, fields, strict=True):
        try:
            number = float(value)
        except ValueError:
            return f"the {name} {value.strip()[:40]!r} is not a number"
        if name == "time" and not np.isfinite(number):
            return f"the time is {value.strip()}"
    return ""


def _is_heading(line: str) -> bool:
    """Say whether a line names columns: it holds letters in every field, and no number."""
    fields = line.split(",")
    return len(fields) == len(COLUMNS) and all(field.strip()[:1].isalpha() and _wrong([field] * 3) for field in fields)
