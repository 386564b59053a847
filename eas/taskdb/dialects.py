"""Connections to sqlite, MySQL and MariaDB, and the settings that each needs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event, literal_column, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from eas.taskdb.database_errors import NO_SUCH_DATABASE, code

MYSQL = ("mysql", "mariadb")
"""SQLAlchemy dialects for MySQL and MariaDB."""

BUSY_TIMEOUT = 60.0
"""How long a sqlite writer waits for another one [s]."""

IDLE_TIMEOUT = 120
"""Time [s] after which MySQL closes an idle connection, also within a transaction. It frees the locks of a
suspended process before other processes, which retry for 160 s, give up."""

SERVER_CLOCK: ColumnElement[float] = literal_column("UNIX_TIMESTAMP(NOW(6))")
"""MySQL's own time [Unix time, s]."""


def sqlite_engine(url: str) -> Engine:
    """Return an engine that begins transactions explicitly, with the write lock if needed."""
    arguments = {"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The listener below emits BEGIN: the driver would emit it only before the first write.
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


def mysql_engine(url: str, isolation_level: str, *, idle_timeout: int = IDLE_TIMEOUT) -> Engine:
    """Return an engine that tests connections before each use, so that a restart of the server causes no error.

    The server closes connections that were idle for ``idle_timeout`` seconds.
    """
    return create_engine(
        url,
        isolation_level=isolation_level,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_size=5,
        max_overflow=20,
        connect_args={
            "charset": "utf8mb4",
            "connect_timeout": 10,
            # Otherwise a server that vanishes without closing the connection would block forever.
            "read_timeout": 600,
            "write_timeout": 600,
            # Strict mode regardless of the server's default: values that do not fit are errors, not truncated.
            "init_command": "SET SESSION sql_mode='TRADITIONAL', innodb_lock_wait_timeout=20, "
            f"wait_timeout={idle_timeout:d}",
        },
    )


def create_database(url: str) -> bool:
    """Create the database that a MySQL URL names if it does not exist; return whether it was created."""
    parsed = make_url(url)
    engine = mysql_engine(url, "READ COMMITTED")
    try:
        with engine.connect():
            return False
    except OperationalError as error:
        if code(error) != NO_SUCH_DATABASE:
            raise
    finally:
        engine.dispose()
    server = mysql_engine(parsed.set(database="").render_as_string(hide_password=False), "READ COMMITTED")
    try:
        with server.connect() as connection:
            name = connection.dialect.identifier_preparer.quote_identifier(parsed.database or "")
            connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"))
        return True
    finally:
        server.dispose()


def skips_locked(connection: Connection) -> bool:
    """Return whether the server can skip rows that others have locked: MySQL 8, MariaDB 10.6."""
    dialect = connection.dialect
    version = dialect.server_version_info or (0,)
    return version >= ((10, 6) if getattr(dialect, "is_mariadb", False) else (8, 0))
