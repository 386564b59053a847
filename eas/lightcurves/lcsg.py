"""Reads light curves of PLATO's light curve stitching group (LCSG), also as saved by spreadsheets.

CSV, gzipped or not: time [days], relative flux, flag (0 good, anything else bad). Comment lines
``# #key=value`` are metadata; other comments and blank lines are skipped. A heading may name the
columns. Byte order marks, quotes, other separators and decimal commas are understood.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from eas.lightcurves import columns, comments
from eas.lightcurves.delimited import Table, read_table, separator_of, split
from eas.lightcurves.flags import REPEATED, repeats_flux
from eas.lightcurves.lightcurve import BAD, GOOD, LightCurve, LightCurveError

Reader: TypeAlias = Callable[[Path], LightCurve]
"""Function that reads a light curve from a file."""

COLUMNS: Final = (columns.TIME, columns.FLUX, columns.FLAG)
GZIP: Final = b"\x1f\x8b"
EXPECTED: Final = "each line has three values: time [days], relative flux, flag (0 good)"
MAX_LINE_CHARS: Final = 10_000
"""Longest row [characters]."""
BYTE_ORDER_MARKS: Final = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
OTHER_FORMATS: Final = {
    b"SIMPLE  =": ("a FITS file", "give lc_type fits"),
    b"# %ECSV": ("an ECSV file", "give lc_type ecsv"),
    b"PK\x03\x04": ("a spreadsheet or zip archive", "save the table as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the table as CSV"),
    b"\x89HDF": ("an HDF5 file", "save the table as CSV, FITS or ECSV"),
    b"PAR1": ("a parquet file", "save the table as CSV, FITS or ECSV"),
    b"\x93NUMPY": ("a numpy file", "save the table as CSV, FITS or ECSV"),
    b"<?xml": ("an XML file, perhaps a VOTable", "save the table as CSV, FITS or ECSV"),
}
"""First bytes of other file formats, with their names and hints."""


class _Lines(NamedTuple):
    comments: list[str]
    rows: list[str]
    numbers: list[int]


def read(path: Path) -> LightCurve:
    """Read the light curve in ``path``, with the metadata in its comments.

    Samples with a missing or non-finite flux are flagged bad, whatever their flag.

    Raises
    ------
    LightCurveError
        The file cannot be read, is damaged or has another format, or a line is not three numbers, or a
        time does not come after the one before it; the message gives the file's name and the line.
    """
    content = _content(path)
    lines = _lines(_text(path, content))
    for row, number in zip(lines.rows, lines.numbers, strict=True):
        if len(row) > MAX_LINE_CHARS:
            raise LightCurveError(
                f"{path.name}, line {number}: is longer than {MAX_LINE_CHARS:,} characters", hint=EXPECTED
            )
    metadata, warnings = comments.collect(lines.comments)
    if not lines.rows:
        raise LightCurveError(f"{path.name}: holds no samples", hint=EXPECTED)
    places, headings = _places(path, lines, warnings)
    table = read_table(path.name, lines.rows, lines.numbers, headings or list(COLUMNS), places, EXPECTED)
    if table.decimal_commas:
        warnings.append("the numbers have decimal commas")
    scale = columns.to_days(columns.split_unit(headings[places[columns.TIME]])[1], warnings) if headings else 1.0
    return _light_curve(path, table, scale, lines.numbers, warnings).evolve(metadata=metadata, warnings=tuple(warnings))


def _light_curve(path: Path, table: Table, scale: float, numbers: list[int], warnings: list[str]) -> LightCurve:
    times, fluxes = table.values[columns.TIME] * scale, table.values[columns.FLUX]
    late = ~(np.diff(times) > 0)
    if late.any():
        index = int(np.argmax(late)) + 1
        raise LightCurveError(
            f"{path.name}, line {numbers[index]}: the time {times[index]:g} does not come after {times[index - 1]:g}",
            hint="sort the file by time, without repeated or missing times",
        )
    flags = table.values.get(columns.FLAG, np.zeros(len(times)))
    if repeats_flux(fluxes, flags):
        warnings.append(REPEATED)
        flags = np.zeros(len(times))
    uncertainties = np.nan_to_num(table.values.get(columns.UNCERTAINTY, np.zeros(len(times))), posinf=0, neginf=0)
    bad = (flags != 0) | ~np.isfinite(fluxes)
    return LightCurve(times, fluxes, np.where(bad, BAD, GOOD), uncertainties)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LightCurveError(f"{path.name}: is a damaged gzip file: {error}", hint="copy it here again") from error
    except OSError as error:
        raise LightCurveError(f"{path.name}: cannot be read: {error.strerror}", hint="check its permissions") from error
    for begin, (what, hint) in OTHER_FORMATS.items():
        if content.startswith(begin):
            raise LightCurveError(f"{path.name}: is {what}, not CSV", hint=f"{hint}; in CSV {EXPECTED}")
    return content


def _text(path: Path, content: bytes) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        # Comments may have the encoding of an older spreadsheet.
        lines = [
            line.decode("latin-1").encode() if line.lstrip(b' "').startswith(b"#") else line
            for line in content.split(b"\n")
        ]
    content = b"\n".join(lines)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LightCurveError(f"{path.name}, line {line}: is not text", hint=EXPECTED) from error


def _lines(text: str) -> _Lines:
    found = _Lines([], [], [])
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        stripped = line.strip()
        if stripped.lstrip('"').startswith("#"):
            found.comments.append(_unquoted(stripped))
        elif stripped.strip(",;") and not (not found.rows and stripped.startswith("sep=")):
            # A tab at the end of a line is an empty cell.
            found.rows.append(line.strip(" ") if "\t" in line else stripped)
            found.numbers.append(number)
    return found


def _unquoted(line: str) -> str:
    """Return a comment line without the CSV quotes that a spreadsheet has added."""
    matched = re.fullmatch(r'"((?:[^"]|"")*)"[,;\s]*', line)
    return matched[1].replace('""', '"') if matched else line


def _places(path: Path, lines: _Lines, warnings: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return the indices of the columns, and the headings (removed from the rows), empty if there are none."""
    first = split(lines.rows[0], separator_of(lines.rows[0]))
    if not _is_heading(first):
        return dict(zip(COLUMNS, range(len(COLUMNS)), strict=True)), []
    number = lines.numbers[0]
    del lines.rows[0], lines.numbers[0]
    if not lines.rows:
        raise LightCurveError(f"{path.name}: holds no samples", hint=EXPECTED)
    while len(first) > len(COLUMNS) and not first[-1]:
        first.pop()
    places = columns.identify(first)
    if columns.TIME not in places or columns.FLUX not in places:
        if len(first) != len(COLUMNS):
            raise LightCurveError(
                f"{path.name}, line {number}: the columns are {', '.join(first)}", hint=f"name {columns.EXPECTED}"
            )
        warnings.append(f"the columns {', '.join(first)} are read as time [days], relative flux and flag")
        return dict(zip(COLUMNS, range(len(COLUMNS)), strict=True)), first
    if columns.FLAG not in places:
        warnings.append("there is no column of flags: all samples are read as good")
    ignored = [name for index, name in enumerate(first) if name and index not in places.values()]
    if ignored:
        warnings.append(f"the columns {', '.join(ignored)} are not read")
    return places, first


def _is_heading(fields: list[str]) -> bool:
    """Return whether a row is a heading: all fields start with letters and none is a number."""
    named = [field for field in fields if field]
    return len(named) > 1 and all(field[:1].isalpha() and not _is_number(field) for field in named)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
