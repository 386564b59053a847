"""Reads a saved task database and checks the shape, types and bounds of each row.

Any problem raises a RequestError that names the line. The file is read as a stream.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, String, Table

from eas import column_sizes
from eas.errors import RequestError
from eas.taskdb import tables
from eas.taskdb.migrate import head_revision

FORMAT = "eas-task-database"
VERSION = 1
MAX_LINE = 400_000_000
"""Longest line [bytes]: a chain of 50 MB, each character of it escaped, fits."""
WRONG_FILE_HINT = (
    "give a file that `eas db save` wrote; a database of the prototype cannot be restored: run its chains again"
)

EPHEMERAL = {tables.commits.name, tables.periodic_locks.name}
"""Tables whose contents are meaningless in another database."""

Row = tuple[Table, list[str], list[Any]]
"""A table, the names of its columns, and the values of one row."""


@dataclass(frozen=True)
class Contents:
    """Contents of a saved file: rows by table, schema, and time of saving [Unix time, s]."""

    rows: Mapping[str, int]
    schema: str
    saved_at: float
    sha256: str

    @property
    def total(self) -> int:
        """Number of rows of all tables."""
        return sum(self.rows.values())


def saved_tables() -> list[Table]:
    """Return the tables that are saved, those that others refer to first."""
    return [table for table in tables.metadata.sorted_tables if table.name not in EPHEMERAL]


def damaged(path: Path, why: str) -> RequestError:
    """Return the error for a file that holds something else than ``eas db save`` writes."""
    return RequestError(f"{path} is damaged: {why}; nothing was changed", hint="use another copy of it")


def inspect_file(path: Path) -> Contents:
    """Read a saved file to its end and return a summary. Raises RequestError if it is damaged."""
    file = SavedFile(path)
    for _ in file.rows():
        pass
    return file.contents()


class SavedFile:
    """One reading of a saved file.

    Raises RequestError for a file of another kind, version or schema, and for a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._digest = hashlib.sha256()
        self._header: dict[str, Any] = {}
        self._counted: dict[str, int] = {}

    def rows(self) -> Iterator[Row]:
        """Yield all rows. The checksum is compared after the last row, so the caller must be able to roll back."""
        with self._lines() as lines:
            self._read_header(next(lines, b""))
            table: Table | None = None
            columns: list[str] = []
            checks: list[Callable[[Any], bool]] = []
            for text in lines:
                value = self._parse(text)
                if isinstance(value, dict) and "sha256" in value:
                    self._check_end(value, next(lines, b""))
                    return
                self._digest.update(text)
                if isinstance(value, dict):
                    table = self._table(value)
                    columns = [column.name for column in table.columns]
                    checks = [_check_of(column) for column in table.columns]
                    continue
                if table is None or not isinstance(value, list):
                    self._raise_damaged("it is neither a table nor a row of one")
                self._check_row(table, checks, value)
                yield table, columns, value
        self._raise_damaged("its end is missing")

    def contents(self) -> Contents:
        """Return what the file holds, after its last row was read."""
        header = self._header
        return Contents(self._counted, header["schema"], header["saved_at"], self._digest.hexdigest())

    def _raise_damaged(self, why: str) -> NoReturn:
        raise damaged(self._path, f"line {self._number}: {why}")

    def _parse(self, text: bytes) -> Any:
        try:
            return json.loads(text, parse_constant=_reject_constant)
        except (ValueError, RecursionError):
            self._raise_damaged("it is not JSON, or nested too deeply")

    def _read_header(self, text: bytes) -> None:
        path = self._path
        if kind := _kind_of(text):
            raise RequestError(
                f"{path} is {kind}, not a saved task database; nothing was changed", hint=WRONG_FILE_HINT
            )
        header = self._parse(text) if text else None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise RequestError(f"{path} is not a saved task database", hint="give a file that `eas db save` wrote")
        version, schema = header.get("version"), header.get("schema")
        if type(version) is int and version > VERSION:
            raise RequestError(
                f"{path} has format version {version}, and this release reads up to {VERSION}",
                hint=f"use the release that wrote it ({header.get('release')}), or a later one",
            )
        if type(version) is not int or not isinstance(schema, str) or not _is_number(header.get("saved_at")):
            self._raise_damaged("its header lacks version, schema or time")
        if schema != head_revision():
            raise RequestError(
                f"{path} has schema {schema}, and this release needs {head_revision()}",
                hint="restore it with the release that wrote it, migrate that database by this release's "
                "`eas db init`, and save it again",
            )
        rows = header.get("rows")
        names = {table.name for table in saved_tables()}
        if not isinstance(rows, dict) or rows.keys() != names or not all(type(each) is int for each in rows.values()):
            self._raise_damaged("its header does not have the number of rows of each table")
        self._header = header
        self._digest.update(text)

    def _table(self, value: dict[str, Any]) -> Table:
        name, columns = value.get("table"), value.get("columns")
        expected = [each for each in saved_tables() if each.name not in self._counted]
        if not expected or name != expected[0].name:
            self._raise_damaged("its tables are not in the expected order")
        table = expected[0]
        if columns != [column.name for column in table.columns]:
            self._raise_damaged(f"its columns are not those of {table.name}")
        self._counted[table.name] = 0
        return table

    def _check_row(self, table: Table, checks: list[Callable[[Any], bool]], row: list[Any]) -> None:
        if len(row) != len(checks):
            self._raise_damaged(f"it has {len(row)} values for the {len(checks)} columns of {table.name}")
        for column, is_valid, value in zip(table.columns, checks, row, strict=True):
            if not (column.nullable if value is None else is_valid(value)):
                self._raise_damaged(f"its value of {table.name}.{column.name} is not one that the column holds")
        self._counted[table.name] += 1
        if self._counted[table.name] > self._header["rows"][table.name]:
            self._raise_damaged(f"it is a row of {table.name} more than the header numbers")

    def _check_end(self, trailer: dict[str, Any], after: bytes) -> None:
        if after:
            self._raise_damaged("there is something after its end")
        if trailer["sha256"] != self._digest.hexdigest() or self._counted != self._header["rows"]:
            raise damaged(self._path, "its checksum is wrong")

    @contextmanager
    def _lines(self) -> Iterator[Iterator[bytes]]:
        path = self._path
        try:
            with gzip.open(path, "rb") as stream:
                yield self._each_line(stream)
        except (EOFError, OSError, zlib.error) as error:
            if isinstance(error, FileNotFoundError):
                raise RequestError(f"there is no file {path}", hint="give a file that `eas db save` wrote") from error
            if kind := _other_kind(path):
                raise RequestError(
                    f"{path} is {kind}, not a saved task database; nothing was changed", hint=WRONG_FILE_HINT
                ) from error
            raise damaged(path, f"it cannot be unpacked ({error})") from error

    def _each_line(self, stream: Any) -> Iterator[bytes]:
        while text := stream.readline(MAX_LINE + 1):
            self._number += 1
            if len(text) > MAX_LINE:
                self._raise_damaged(f"it is longer than {MAX_LINE:,} bytes")
            yield text


def _check_of(column: Column[Any]) -> Callable[[Any], bool]:
    """Return a function that tests whether a value other than None fits a column on every engine."""
    kind = column.type
    if isinstance(kind, Boolean):
        return lambda value: isinstance(value, bool)
    if isinstance(kind, Integer):
        limit = 1 << (63 if isinstance(kind, BigInteger) else 31)
        return lambda value: type(value) is int and -limit <= value < limit
    if isinstance(kind, Double):
        return _is_number
    assert isinstance(kind, String)
    longest = kind.length
    if longest is not None:
        return lambda value: isinstance(value, str) and len(value) <= longest and _is_text(value)
    if kind is tables.LONG:
        return lambda value: isinstance(value, str) and _is_text(value)
    return lambda value: isinstance(value, str) and _is_text(value) and len(value.encode()) <= column_sizes.TEXT_BYTES


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 63)


def _is_text(value: str) -> bool:
    return value.isascii() or not re.search("[\ud800-\udfff]", value)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _other_kind(path: Path) -> str:
    """Return the kind of a file that is not gzipped, detected from its first bytes; empty if unknown."""
    try:
        with path.open("rb") as stream:
            return _kind_of(stream.read(4096))
    except OSError:
        return ""


def _kind_of(start: bytes) -> str:
    if start.startswith(b"SQLite format 3\0"):
        return "a sqlite database"
    if re.match(rb"(--|/\*|CREATE |INSERT |DROP |SET |USE |BEGIN|PRAGMA )", start[:4096].lstrip(), re.IGNORECASE):
        return "an SQL dump (as mysqldump, mariadb-dump or sqlite3 .dump write it)"
    return ""
