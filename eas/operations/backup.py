"""Save the task database as one portable file, and restore it, on any engine.

The file is gzipped JSON, one value a line: a header (format, schema, rows of each table), then for
each table its name and columns and its rows as arrays, and last the SHA-256 of all lines before.
A restore reads and checks the whole file (``saved_file``) before it changes anything. The file holds the task
database, not the contents of the file store.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select
from sqlalchemy.exc import DataError, IntegrityError

from eas import __version__
from eas.errors import RequestError
from eas.registry import Registry
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import current_revision, initialise
from eas.taskdb.saved_file import FORMAT, VERSION, Contents, SavedFile, damaged, inspect_file, saved_tables

ROWS_PER_BATCH = 2_000
"""Rows read or written at a time."""

FILLED_BY_INIT = {"worker_types", "task_types", "id_blocks"}

NOT_CARRIED = "file contents are not in it: copy the file store's folder, too"


# -- saving ------------------------------------------------------------------------------------


def save(database: TaskDatabase, path: Path) -> Contents:
    """Write a snapshot of all rows to ``path``; the file gets its name only when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The file holds chains and messages of all users: only its owner may read it.
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
    streaming = connection.execution_options(yield_per=ROWS_PER_BATCH)
    for row in streaming.execute(select(table).order_by(*table.primary_key.columns)):
        yield list(row)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


# -- restoring ---------------------------------------------------------------------------------


def restore(database: TaskDatabase, registry: Registry, path: Path, *, force: bool = False) -> Contents:
    """Replace the contents of the task database by a saved file, in one transaction; create a missing database.

    Raises RequestError, with nothing changed, for a file that is damaged or of another schema, and
    for a database that holds jobs, unless ``force`` is given.
    """
    contents = inspect_file(path)
    database.create()
    initialise(database, registry)

    def work(connection: Connection) -> None:
        held = [
            table.name for table in saved_tables() if table.name not in FILLED_BY_INIT and _count(connection, table)
        ]
        if held and not force:
            raise RequestError(
                f"the task database {database.safe_url} is not empty: it has {', '.join(held)}; nothing was changed",
                hint="stop its workers and flows and use --force to replace its contents, or restore into another one",
            )
        _empty(connection)
        _fill(connection, path)

    database.transact(work)
    return contents


def _empty(connection: Connection) -> None:
    """Delete all rows. TRUNCATE is faster, but cannot be rolled back if this process is killed."""
    mysql = connection.dialect.name != "sqlite"
    # All tables are emptied, so foreign keys need no check; MySQL also rejects deeply nested cascades.
    connection.exec_driver_sql("SET foreign_key_checks=0" if mysql else "PRAGMA defer_foreign_keys=ON")
    for table in reversed(saved_tables()):
        connection.execute(delete(table))
    if mysql:
        connection.exec_driver_sql("SET foreign_key_checks=1")


def _fill(connection: Connection, path: Path) -> None:
    waiting: list[dict[str, Any]] = []
    filled: Table | None = None

    def flush() -> None:
        if filled is not None and waiting:
            try:
                connection.execute(insert(filled), waiting)
            except (IntegrityError, DataError) as error:
                raise damaged(path, f"rows of {filled.name} contradict others") from error
        waiting.clear()

    for table, columns, row in SavedFile(path).rows():
        if table is not filled or len(waiting) >= ROWS_PER_BATCH:
            flush()
            filled = table
        waiting.append(dict(zip(columns, row, strict=True)))
    flush()
    # With deferred checks, sqlite would report missing references only at the commit.
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise damaged(path, "some rows refer to rows that it does not hold")
