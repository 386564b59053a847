"""Classifies errors of the database engines: retry, wait for the server, or report a user error.

Messages of EAS never contain SQL parameters, because these are users' data. Messages of the server are therefore
passed on only if they concern connections, files or tables, not if they quote values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError

from eas.errors import EASError, RequestError, ServiceError

# Deadlock, lock wait timeout: both roll back and ask to try again.
CONFLICT_CODES = {1213, 1205}
# Too many connections, server shutdown, killed connection; cannot connect, server gone, lost while waiting;
# closed by MySQL 8 after being idle for too long.
UNREACHABLE_CODES = {1040, 1053, 1927, 2002, 2003, 2006, 2013, 2055, 4031}
NO_SUCH_DATABASE = 1049
TOO_LARGE = 1153
_LOST_WHILE_SENDING = {2006, 2013}
_NO_SUCH_TABLE = ("no such table", "no such column", "has no column named")
_NOT_OUR_SCHEMA = {1146, 1054}
_DISK_FULL = ("database or disk is full", "disk I/O error", "unable to open database file", "readonly database")
_DAMAGED = ("file is not a database", "database disk image is malformed", "file is encrypted", "malformed database")

SMALLEST_PACKET = 1_000_000
"""Statements with fewer bytes than this are below any realistic ``max_allowed_packet``."""

_ESCAPED = re.compile(r"[\0\n\r\x1a\"'\\]")


def code(error: DBAPIError) -> int | None:
    """Return the server's number of an error; None for sqlite."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def is_deadlock_or_timeout(error: DBAPIError) -> bool:
    """Return whether the transaction failed by a deadlock or lock timeout, and may succeed when retried."""
    return code(error) in CONFLICT_CODES or "database is locked" in str(error.orig)


def is_outage(error: DBAPIError) -> bool:
    """Return whether the server could not be reached, or the connection was lost."""
    closed_by_driver = isinstance(error, InterfaceError) and code(error) == 0
    return error.connection_invalidated or code(error) in UNREACHABLE_CODES or closed_by_driver


def root_error(error: DBAPIError) -> DBAPIError:
    """Return the server's error on a too large statement if ``error`` is of the rollback after it; else ``error``.

    The server closes the connection after a statement that it has found too large: the rollback cannot reach it.
    """
    before: BaseException | None = error
    while before is not None:
        if isinstance(before, DBAPIError) and code(before) == TOO_LARGE:
            return before
        before = before.__cause__ or before.__context__
    return error


def suspected_size(error: DBAPIError) -> int:
    """Return the size of the statement [bytes] if the server may have closed the connection because of it; else 0.

    MySQL closes the connection on a statement above ``max_allowed_packet``, which looks like an outage.
    """
    if code(error) not in _LOST_WHILE_SENDING:
        return 0
    size = statement_size(error.params)
    return size if size > SMALLEST_PACKET else 0


def statement_size(parameters: Any) -> int:
    """Return the approximate size of the parameters [bytes]; for several rows, that of the largest one."""
    if isinstance(parameters, Mapping):
        parameters = list(parameters.values())
    if not isinstance(parameters, (list, tuple)):
        return 0
    if any(isinstance(each, (list, tuple, Mapping)) for each in parameters):
        return max(map(statement_size, parameters))
    texts = (each for each in parameters if isinstance(each, str))
    return sum(len(each.encode()) + len(_ESCAPED.findall(each)) for each in texts)


def too_large(safe_url: str, size: int, limit: int | None) -> EASError:
    """Return the error of a statement that is larger than the server accepts [both bytes]."""
    most = "" if limit is None else f"; its max_allowed_packet is {limit} bytes"
    return RequestError(
        f"the task database {safe_url} refuses a statement of about {max(size, 1)} bytes{most}",
        hint="raise the server's max_allowed_packet, or submit smaller tasks (settings, metadata, messages)",
    )


def too_large_number(error: OverflowError, safe_url: str) -> Exception:
    """Return the error of a number that sqlite cannot hold; ``error`` itself where it means something else."""
    if "too large to convert to SQLite" not in str(error):
        return error
    return RequestError(
        f"the task database {safe_url} holds no number that large", hint="give numbers and ids below 2^63 (9.2e18)"
    )


def to_eas_error(error: DBAPIError, safe_url: str) -> EASError:
    """Return an error of this package that says what an engine's error means and what to do."""
    number, said = code(error), str(error.orig)
    if (of_file := _file_error(said, safe_url)) is not None:
        return of_file
    if number == TOO_LARGE:
        return too_large(safe_url, statement_size(error.params), None)
    if number in _NOT_OUR_SCHEMA or any(text in said for text in _NO_SUCH_TABLE):
        return ServiceError(
            f"the task database {safe_url} does not have the tables of this release", hint="run `eas db init`"
        )
    if isinstance(error, DataError):
        return RequestError(
            f"the task database {safe_url} refuses a value{_column_or_key(said)}: "
            "it is too long, or not of the column's type",
            hint="shorten the names, numbers or texts of the chain",
        )
    if isinstance(error, IntegrityError):
        return EASError(
            f"the task database {safe_url} refuses a row{_column_or_key(said)}: it contradicts another one",
            hint="try again; if the error persists, save the database (`eas db save`) and report the problem",
        )
    return ServiceError(
        f"the task database {safe_url} cannot be used: {said}",
        hint="check that it runs and that EAS_DATABASE_URL is correct; then run `eas db init`",
    )


def _file_error(said: str, safe_url: str) -> EASError | None:
    """Return the error if SQLite's file is damaged or cannot be written; None otherwise."""
    if any(text in said for text in _DAMAGED):
        return ServiceError(
            f"the file of the task database {safe_url} is damaged, or is no sqlite database: {said}",
            hint="move it away and restore a save (`eas db restore FILE` reads what `eas db save` wrote), "
            "or use another EAS_HOME",
        )
    if any(text in said for text in _DISK_FULL):
        return ServiceError(
            f"the file of the task database {safe_url} cannot be used: {said}",
            hint="free disk space; check that this user may write to its folder, and the limit on file sizes "
            "(`ulimit -f`)",
        )
    return None


def _column_or_key(said: str) -> str:
    """Return only the column or key that the server's message names, because the rest may quote values."""
    found = re.search(r"(?:for (column|key)|constraint failed:) ['`\"]?([\w.]+)", said)
    return f" of {found[2]}" if found else ""
