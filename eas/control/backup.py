"""Save the task database as one portable file, and restore it, on whichever engine.

The file is gzipped JSON, one value a line: a header (format, schema, rows of each table), then for
each table its name and columns and its rows as arrays, and last the SHA-256 of all lines before.
It is read to its end and checked before anything is changed. It holds what SQL holds, not the
contents of the file store.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select

from eas import __version__
from eas.errors import RequestError
from eas.registry import Registry
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import current_revision, head_revision, initialise

FORMAT = "eas-task-database"
VERSION = 1
CHUNK = 2_000
"""Rows read or written at a time."""

EPHEMERAL = {"commits", "duties"}
"""Tables that mean something only where they were written."""

FILLED_BY_INIT = {"worker_types", "task_types", "id_blocks"}

NOT_CARRIED = "file contents are not in it: copy the file store's folder, too"


@dataclass(frozen=True)
class Contents:
    """What a saved file holds: rows by table, schema, and when it was saved [Unix time, s]."""

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


# -- saving ------------------------------------------------------------------------------------


def save(database: TaskDatabase, path: Path) -> Contents:
    """Write all rows, as of one moment, to ``path``; it appears when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # It holds chains and messages of all users: readable by its owner alone.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with (
                gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
                database.read() as connection,
            ):
                contents = _write(connection, packed, database.now())
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return contents


def _write(connection: Connection, stream: gzip.GzipFile, now: float) -> Contents:
    digest = hashlib.sha256()

    def line(value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        digest.update(text)
        stream.write(text)

    rows = {table.name: _count(connection, table) for table in saved_tables()}
    schema = current_revision(connection) or ""
    header = {"format": FORMAT, "version": VERSION, "release": __version__, "schema": schema, "saved_at": now}
    line(header | {"engine": connection.dialect.name, "rows": rows, "not_carried": NOT_CARRIED})
    for table in saved_tables():
        line({"table": table.name, "columns": [column.name for column in table.columns]})
        for row in _rows(connection, table):
            line(row)
    stream.write(json.dumps({"sha256": digest.hexdigest()}).encode() + b"\n")
    return Contents(rows, schema, now, digest.hexdigest())


def _rows(connection: Connection, table: Table) -> Iterator[list[Any]]:
    """Yield the rows in the order of their key: parents come before their children."""
    streaming = connection.execution_options(yield_per=CHUNK)
    for row in streaming.execute(select(table).order_by(*table.primary_key.columns)):
        yield list(row)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


# -- reading -----------------------------------------------------------------------------------


def inspect_file(path: Path) -> Contents:
    """Read a saved file to its end and return what it holds. Raises RequestError where it is not sound."""
    counted: dict[str, int] = {}
    with _lines(path) as lines:
        first = next(lines, b"")
        header = _header(path, first)
        digest = hashlib.sha256(first)
        table, trailer = "", None
        for text in lines:
            if trailer is not None:
                raise _unsound(path, "there is something after its end")
            value = _parse(path, text)
            if isinstance(value, dict) and "sha256" in value:
                trailer = value["sha256"]
                continue
            digest.update(text)
            if isinstance(value, dict):
                table = value["table"]
                counted[table] = 0
            else:
                counted[table] = counted.get(table, 0) + 1
    if trailer is None:
        raise _unsound(path, "its end is missing")
    if trailer != digest.hexdigest() or counted != header["rows"]:
        raise _unsound(path, "its checksum is wrong")
    return Contents(counted, header["schema"], header["saved_at"], trailer)


def _header(path: Path, text: bytes) -> dict[str, Any]:
    header = _parse(path, text) if text else None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise RequestError(f"{path} is not a saved task database", cure="give a file that `eas db save` wrote")
    if header["version"] > VERSION:
        raise RequestError(
            f"{path} has format version {header['version']}, and this release reads up to {VERSION}",
            cure=f"use the release that wrote it ({header.get('release')}), or a later one",
        )
    return header


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    try:
        with gzip.open(path, "rb") as stream:
            yield iter(stream)
    except (gzip.BadGzipFile, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise RequestError(f"there is no file {path}", cure="give a file that `eas db save` wrote") from error
        raise _unsound(path, f"it cannot be unpacked ({error})") from error


def _parse(path: Path, text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unsound(path, "a line of it is not JSON") from error


def _unsound(path: Path, why: str) -> RequestError:
    return RequestError(f"{path} is damaged: {why}; nothing was changed", cure="use another copy of it")


# -- restoring ---------------------------------------------------------------------------------


def restore(database: TaskDatabase, registry: Registry, path: Path, *, force: bool = False) -> Contents:
    """Replace all that the task database holds by a saved file, in one transaction.

    Raises RequestError, with nothing changed, for a file that is damaged or of another schema, and
    for a database that holds jobs, unless ``force`` is given.
    """
    contents = inspect_file(path)
    if contents.schema != head_revision():
        raise RequestError(
            f"{path} has schema {contents.schema}, and this release needs {head_revision()}",
            cure="restore it with the release that wrote it, migrate that database by this release's `eas db init`, "
            "and save it again",
        )
    initialise(database, registry)

    def work(connection: Connection) -> None:
        held = [
            table.name for table in saved_tables() if table.name not in FILLED_BY_INIT and _count(connection, table)
        ]
        if held and not force:
            raise RequestError(
                f"the task database {database.safe_url} is not empty: it has {', '.join(held)}; nothing was changed",
                cure="stop its workers and flows and use --force to replace all of it, or restore into another one",
            )
        _empty(connection)
        _fill(connection, path)

    database.transact(work)
    return contents


def _empty(connection: Connection) -> None:
    """Delete all rows. TRUNCATE would be quicker, but cannot be undone when we are killed."""
    mysql = connection.dialect.name != "sqlite"
    # All of it goes: checking each reference on the way would only cost time, and MySQL gives up
    # on references that cascade deeply.
    connection.exec_driver_sql("SET foreign_key_checks=0" if mysql else "PRAGMA defer_foreign_keys=ON")
    for table in reversed(saved_tables()):
        connection.execute(delete(table))
    if mysql:
        connection.exec_driver_sql("SET foreign_key_checks=1")


def _fill(connection: Connection, path: Path) -> None:
    table: Table | None = None
    columns: list[str] = []
    waiting: list[dict[str, Any]] = []

    def flush() -> None:
        if table is not None and waiting:
            connection.execute(insert(table), waiting)
        waiting.clear()

    with _lines(path) as lines:
        next(lines)
        for text in lines:
            value = json.loads(text)
            if isinstance(value, list):
                waiting.append(dict(zip(columns, value, strict=True)))
                if len(waiting) >= CHUNK:
                    flush()
            elif "table" in value:
                flush()
                table, columns = tables.metadata.tables[value["table"]], value["columns"]
    flush()
