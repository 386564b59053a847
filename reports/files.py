r"""Files of reports: CSV that Excel, TOPCAT and pandas read without options; parquet on request.

One table per file: UTF-8, one header line with units, commas, ``\n`` as line terminator, quotes only
if needed, empty cells for unknown values. Files are written atomically.
"""

from __future__ import annotations

import math
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from eas.errors import EASError, RequestError
from eas.plain_text import ESCAPED_PREFIXES, without_formula
from reports import csv_cells

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Byte order mark for files that are not ASCII: without it, Excel assumes the local 8-bit encoding."""

ROWS = 10_000
"""Number of rows that are formatted at once."""

SPECIAL = ',"\r\n\0'
"""Characters that require quotes around a cell."""


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing that replaces ``path`` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise EASError(
            f"cannot write {path}: {error.strerror or error}", hint="give a path that you may write to"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write ``content`` atomically."""
    with atomic(path) as stream:
        stream.write(content)
    return path


def write_csv(frames: pd.DataFrame | Iterable[pd.DataFrame], path: Path) -> Path:
    """Write a table, given whole or as an iterator of parts with equal columns (at least one part)."""
    parts = [frames] if isinstance(frames, pd.DataFrame) else frames
    with atomic(path) as stream:
        plain = True
        for number, frame in enumerate(parts):
            content = csv_bytes(frame, header=number == 0)
            plain = plain and content.isascii()
            stream.write(content)
        if not plain:
            _mark(stream)
    return path


def _mark(stream: IO[bytes]) -> None:
    """Insert the byte order mark at the start of a written file, moving its content block by block."""
    size, block = stream.tell(), 1 << 20
    for begin in range((size - 1) // block * block, -1, -block):
        stream.seek(begin)
        content = stream.read(min(block, size - begin))
        stream.seek(begin + len(BYTE_ORDER_MARK))
        stream.write(content)
    stream.seek(0)
    stream.write(BYTE_ORDER_MARK)
    stream.seek(0, os.SEEK_END)


def csv_text(frame: pd.DataFrame, *, header: bool = True) -> str:
    """Return a table as CSV text."""
    return csv_bytes(frame, header=header).decode("utf-8")


def csv_bytes(frame: pd.DataFrame, *, header: bool = True) -> bytes:
    """Return a table as CSV in UTF-8; lone surrogates are written as escapes."""
    head = ",".join(_words([str(name) for name in frame.columns])) + "\n" if header else ""
    parts = [_lines(frame.iloc[begin : begin + ROWS]) for begin in range(0, len(frame), ROWS)]
    return head.encode("utf-8", "backslashreplace") + b"".join(parts)


def _lines(frame: pd.DataFrame) -> bytes:
    # Whole columns are formatted in one call, for speed with ten million cells.
    columns = [_column(frame.iloc[:, place].to_numpy()) for place in range(frame.shape[1])]
    return csv_cells.lines(columns) if columns else b""


def _column(values: np.ndarray[Any, Any]) -> csv_cells.Matrix | list[str]:
    """Return a column's cells."""
    if values.dtype.kind in "iu":
        return csv_cells.integers(values)
    given = values.tolist()
    found = None
    if values.dtype.kind == "f" or set(map(type, given)) == {float}:
        found = csv_cells.floats(values.astype(float))
    if found is None:
        words = _words(given)
        found = csv_cells.from_texts(words)
        return words if found is None else found
    return found


def _words(given: list[Any]) -> list[str]:
    """Return values as quoted texts, for joining with commas."""
    try:
        together = "\n".join(given)
    except TypeError:
        given = _unlike([without_formula(each) if type(each) is str else each for each in given])
        together = "".join(given)
    else:
        # Most columns need no quotes: searching the joined text is much faster than checking each cell.
        if together.startswith(ESCAPED_PREFIXES) or any(f"\n{sign}" in together for sign in ESCAPED_PREFIXES):
            given = list(map(without_formula, given))
        together = "".join(given)
    return [_quote(cell) for cell in given] if any(sign in together for sign in SPECIAL) else given


def _unlike(given: list[Any]) -> list[str]:
    kinds = set(map(type, given))
    if len(kinds) == 1 and kinds <= {float, int, bool}:
        # Loop values repeat, so each distinct value is formatted once.
        words = {value: _cell(value) for value in set(given)}
        if 0.0 not in words or kinds == {int}:  # 0.0 and -0.0 are equal
            return [words[value] for value in given]
    return list(map(_cell, given))


def _cell(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        # The same as in Java and pandas.
        return "" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return "" if value is None or value is pd.NA else str(value)


def _quote(cell: str) -> str:
    if not any(sign in cell for sign in SPECIAL):
        return cell
    # Some readers end a line at a carriage return and a file at a zero byte, even in quotes.
    clean = cell.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").replace('"', '""')
    return f'"{clean}"'


def write_parquet(frames: pd.DataFrame | Iterable[pd.DataFrame], path: Path) -> Path:
    """Write a table as parquet. Raises RequestError if pyarrow is not installed."""
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore] # noqa: F401
    except ImportError:
        raise RequestError(
            f"cannot write {path}: parquet needs pyarrow, which is not installed here",
            hint="pip install 'eas-prefect[parquet]', or ask for .csv",
        ) from None
    frame = frames if isinstance(frames, pd.DataFrame) else pd.concat(frames, ignore_index=True)
    frame = frame.copy(deep=False)
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = _uniform(frame[name])
    with atomic(path) as stream:
        frame.to_parquet(stream, index=False)
    return path


def _uniform(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of one type: parquet has no mixed columns."""
    kinds = {type(value) for value in column if value is not None}
    if len(kinds) <= 1 or kinds <= {int, float}:
        return column if str not in kinds else column.astype("str")
    return column.map(lambda value: None if value is None else str(value))


def write_table(frames: pd.DataFrame | Iterable[pd.DataFrame], path: Path) -> Path:
    """Write parquet where ``path`` ends in ``.parquet``, else CSV."""
    return write_parquet(frames, path) if path.suffix == ".parquet" else write_csv(frames, path)


def dated_and_latest(folder: Path, name: str, suffix: str, now: float) -> tuple[Path, Path]:
    """Return ``<name>_2026-11-22.csv`` and ``<name>_latest.csv``: the dated one is the day's last state (UTC)."""
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    return folder / f"{name}_{day}{suffix}", folder / f"{name}_latest{suffix}"


def publish_latest(dated: Path, latest: Path) -> Path:
    """Copy ``dated`` to ``latest`` atomically."""
    with dated.open("rb") as source, atomic(latest) as target:
        shutil.copyfileobj(source, target)
    return latest
