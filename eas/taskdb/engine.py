"""Connections to the task database: one object that knows the engines' ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from eas.errors import EASError, ServiceError
from eas.settings import safe_url
from eas.taskdb import tables

T = TypeVar("T")

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row of whatever columns."""

AnySelect: TypeAlias = Select[*tuple[Any, ...]]
"""A query for whatever columns."""

BUSY_TIMEOUT = 60.0
"""How long a sqlite writer waits for another one [s]."""

RETRIES = 8
# MySQL: deadlock, lock wait timeout; both roll back and ask to try again.
MYSQL_TRY_AGAIN = {1213, 1205}
MYSQL_CANNOT_CONNECT = {1040, 1044, 1045, 1049, 1698, 2002, 2003, 2005, 2006, 2013}


class TaskDatabase:
    """The task database.

    Transactions are short: ``read`` gives a consistent snapshot, ``transact`` runs a function in
    one writing transaction and tries again where the engine asks for it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.safe_url = safe_url(url)
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _sqlite_engine(url) if self.is_sqlite else _mysql_engine(url)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a reading transaction: everything read in it is of one moment."""
        with self._connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a writing transaction; it commits when the block ends well. See ``transact``."""
        with self._connect() as connection:
            # sqlite gives the write lock at the first write and then refuses, without waiting, a
            # reader that wants to become a writer: take the lock at the start.
            writer = connection.execution_options(eas_writes=True)
            with writer.begin():
                yield writer

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one writing transaction and return its result.

        It runs again, a bounded number of times and ever later, after a deadlock, a lock timeout
        or a lost connection: so it must not keep anything outside the transaction. Raises
        ServiceError where the database cannot be reached.
        """
        for attempt in range(RETRIES):
            try:
                with self.write() as connection:
                    return work(connection)
            except (OperationalError, InterfaceError) as error:
                if attempt == RETRIES - 1 or not _worth_another_try(error):
                    raise self._unreachable(error) from error
                time.sleep(min(0.05 * 2**attempt, 2.0))
        raise AssertionError("unreachable")

    def ping(self) -> None:
        """Raise ServiceError unless the database answers."""
        with self.read() as connection:
            connection.execute(select(1))

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            connection = self.engine.connect()
        except (OperationalError, InterfaceError) as error:
            raise self._unreachable(error) from error
        with connection:
            yield connection

    def _unreachable(self, error: DBAPIError) -> EASError:
        return ServiceError(
            f"the task database {self.safe_url} cannot be used: {error.orig}",
            cure="check that it runs and that EAS_DATABASE_URL (or `eas db init`) names it; then `eas db init`",
        )


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # We say BEGIN ourselves: the driver would only do so before a write.
        connection.isolation_level = None
        cursor = connection.cursor()
        # WAL: readers never wait for the writer. NORMAL: a power cut may take the last
        # transactions (their tasks run again), but a killed process loses nothing.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("eas_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _mysql_engine(url: str) -> Engine:
    return create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_size=5,
        max_overflow=10,
        connect_args={"charset": "utf8mb4", "connect_timeout": 10},
    )


def _worth_another_try(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    arguments = getattr(error.orig, "args", ())
    if arguments and isinstance(arguments[0], int):
        return arguments[0] in MYSQL_TRY_AGAIN or arguments[0] in {2006, 2013}
    return "database is locked" in str(error.orig)


def reserve_ids(connection: Connection, name: str, count: int) -> int:
    """Reserve ``count`` ids of table ``name`` and return the first.

    Gaps are harmless: what matters is that no id is given twice, by whichever engine.
    """
    block = tables.id_blocks
    grown = connection.execute(
        update(block).where(block.c.name == name).values(next_id=block.c.next_id + count)
    ).rowcount
    if grown:
        last = connection.execute(select(block.c.next_id).where(block.c.name == name)).scalar_one()
        return int(last) - count
    try:
        with connection.begin_nested():
            connection.execute(block.insert().values(name=name, next_id=1 + count))
    except IntegrityError:
        return reserve_ids(connection, name, count)
    return 1
