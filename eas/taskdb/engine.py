"""Access to the task database: transactions with retries, and its clock, for every engine."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, insert, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from eas.errors import SettingsError
from eas.settings import safe_url
from eas.taskdb import database_errors, dialects, tables
from eas.wakeups import Wakeups

T = TypeVar("T")

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row of whatever columns."""

AnySelect: TypeAlias = Select[Any]
"""A query for whatever columns."""

MAX_TRIES = 8
"""Maximum number of tries of a transaction that fails by deadlocks or lock timeouts."""

OUTAGE_TIMEOUT = 60.0
"""Maximum time [s] to wait for a database that was reachable before."""

CLOCK_SYNC_INTERVAL = 60.0
"""Interval [s] at which the server's time is read."""


class TaskDatabase:
    """The task database.

    Transactions are short: ``read`` and ``fetch`` give a consistent snapshot, ``transact`` runs a
    function in one writing transaction. ``fetch`` and ``transact`` retry after deadlocks and lock timeouts,
    and wait up to ``timeout`` seconds for a server that restarts, but not for a server that was never reached.
    """

    def __init__(self, url: str, *, timeout: float = OUTAGE_TIMEOUT) -> None:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend in dialects.MYSQL and "+" not in parsed.drivername:
            parsed = parsed.set(drivername="mysql+pymysql")
        elif backend not in (*dialects.MYSQL, "sqlite"):
            raise SettingsError(
                f"{backend} is no engine for the task database", hint="use a sqlite or mysql+pymysql URL"
            )
        self.url = parsed.render_as_string(hide_password=False)
        self.safe_url = safe_url(url)
        self.timeout = timeout
        self.is_sqlite = backend == "sqlite"
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        if self.is_sqlite:
            self.engine = self._reader = dialects.sqlite_engine(self.url)
        else:
            # One pool for each isolation level: changing the level costs a round trip each time.
            self.engine = dialects.mysql_engine(self.url, "READ COMMITTED")
            self._reader = dialects.mysql_engine(self.url, "REPEATABLE READ")
        self.wakeups = Wakeups(_wakeup_key(parsed))
        self._was_reached = False
        self._clock: tuple[float, float] | None = None

    def create(self) -> bool:
        """Create the MySQL database if it does not exist; return whether it was created."""
        if self.is_sqlite:
            return False
        try:
            return dialects.create_database(self.url)
        except DBAPIError as error:
            raise database_errors.to_eas_error(error, self.safe_url) from error

    def close(self) -> None:
        """Close all connections."""
        self.wakeups.close()
        self.engine.dispose()
        self._reader.dispose()

    def now(self) -> float:
        """Return the time that leases and due times are measured by: Unix time [s].

        With MySQL it is the server's time, so that differing clocks of hosts do not matter; with sqlite it
        is the time of this machine.
        """
        if self.is_sqlite:
            return time.time()
        if self._clock is None or time.monotonic() - self._clock[1] > CLOCK_SYNC_INTERVAL:
            asked = time.monotonic()
            server = float(
                self.fetch(lambda connection: connection.execute(select(dialects.SERVER_CLOCK)).scalar_one())
            )
            self._clock = (server, (asked + time.monotonic()) / 2)
        return self._clock[0] + time.monotonic() - self._clock[1]

    def clock_offset(self) -> float:
        """Return the offset of the database's clock from this machine's [s]; 0 with sqlite."""
        return 0.0 if self.is_sqlite else self.now() - time.time()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a reading transaction with a consistent snapshot."""
        try:
            with self._connect(self._reader) as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            raise database_errors.to_eas_error(error, self.safe_url) from error
        except OverflowError as error:
            raise database_errors.too_large_number(error, self.safe_url) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a writing transaction, without retries; it commits when the block ends without an exception."""
        try:
            with self._writing() as connection:
                yield connection
        except DBAPIError as error:
            raise database_errors.to_eas_error(error, self.safe_url) from error
        except OverflowError as error:
            raise database_errors.too_large_number(error, self.safe_url) from error

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._connect(self.engine) as connection:
            # sqlite takes the write lock at the first write, and fails immediately if a transaction that has read
            # needs it then. So take the lock at the start.
            writer = connection.execution_options(eas_writes=True)
            with writer.begin():
                yield writer

    def fetch(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one reading transaction and return its result; see the class for retries."""

        def once() -> T:
            with self._connect(self._reader) as connection, connection.begin():
                return work(connection)

        return self._with_retries(once)

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one writing transaction and return its result.

        After a deadlock, a lock timeout or a lost connection ``work`` runs again, with exponential backoff, so it
        must not have effects outside the transaction. If the connection is lost during the commit, a token written
        in the same transaction shows whether it was committed; then it is not repeated. Raises ServiceError if the
        database cannot be reached.
        """
        token = None if self.is_sqlite else uuid.uuid4().hex
        results: list[T] = []

        def once() -> T:
            with self._writing() as connection:
                if token is None or _record_token(connection, token):
                    results.append(work(connection))
            return results[-1]

        return self._with_retries(once)

    def ping(self) -> None:
        """Raise ServiceError unless the database answers."""
        with self.read() as connection:
            connection.execute(select(1))

    def uptime(self) -> float | None:
        """Return the uptime of the server [s]; None for sqlite."""
        if self.is_sqlite:
            return None
        return float(self.fetch(lambda c: c.execute(text("SHOW GLOBAL STATUS LIKE 'Uptime'")).one()[1]))

    def _with_retries(self, once: Callable[[], T]) -> T:
        collisions, pause, began = 0, 0.05, time.monotonic()
        while True:
            try:
                return once()
            except DBAPIError as last:
                error = database_errors.root_error(last)
                if database_errors.is_deadlock_or_timeout(error):
                    collisions += 1
                    again = collisions < MAX_TRIES
                else:
                    away = database_errors.is_outage(error) and self._was_reached
                    self._refuse_too_large(error)
                    again = away and time.monotonic() - began < self.timeout
                if not again:
                    raise database_errors.to_eas_error(error, self.safe_url) from error
            except OverflowError as error:
                raise database_errors.too_large_number(error, self.safe_url) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 2.0)

    @contextmanager
    def _connect(self, engine: Engine) -> Iterator[Connection]:
        with engine.connect() as connection:
            self._was_reached = True
            yield connection

    def _refuse_too_large(self, error: DBAPIError) -> None:
        """Raise RequestError if the server closed the connection because of the statement's size: do not retry."""
        size = database_errors.suspected_size(error)
        if not size:
            return
        try:
            with self._connect(self._reader) as connection:
                limit = int(connection.execute(text("SELECT @@max_allowed_packet")).scalar_one())
        except DBAPIError:
            return  # the server cannot be reached, so the size is not the cause
        if size >= limit:
            raise database_errors.too_large(self.safe_url, size, limit) from error


def _wakeup_key(url: URL) -> str:
    """Return a key of this database that is the same for all processes of a machine, whatever their user name."""
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or uuid.uuid4().hex).resolve())
    return f"{url.host}:{url.port}/{url.database}"


def _record_token(connection: Connection, token: str) -> bool:
    """Record the token of a transaction; return False if an earlier try has committed it.

    If the earlier try is still committing, the unique key makes the insert wait for it.
    """
    try:
        connection.execute(insert(tables.commits).values(token=token, committed_at=dialects.SERVER_CLOCK))
    except IntegrityError:
        return False
    return True


def reserve_ids(connection: Connection, name: str, count: int) -> int:
    """Reserve ``count`` ids of table ``name`` and return the first.

    Ids may have gaps, but no id is returned twice.
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
