"""The child's end of the connection, and the log handler that writes to it. Imported by the child only."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import traceback
from collections import deque

from eas.worker.protocol import LOST_CONNECTION, Decoder, Message, clip, encode
from eas.worker.result_validation import storable_text

_READ_BYTES = 1 << 16
_MAX_LOG_TEXT = 1 << 16
_MAX_LOG_ENTRIES = 2000
_MAX_EXTRA_WARNINGS = 200


class Channel:
    """Messages to and from the parent, from any thread of the child.

    Attributes
    ----------
    forked:
        Whether this process was forked by the task's code. A forked process must not send messages, because
        the parent would take them for the child's.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.forked = False
        self._connection = connection
        self._fd = connection.fileno()
        self._inode = os.fstat(self._fd).st_ino
        self._decoder = Decoder()
        self._pending: deque[Message] = deque()
        self._lock = threading.RLock()
        os.register_at_fork(after_in_child=self._close_after_fork)

    def _close_after_fork(self) -> None:
        self.forked = True
        self._connection.close()

    def verify(self) -> None:
        """Exit if the task's code has closed the connection or reused its file descriptor for another file."""
        try:
            if os.fstat(self._fd).st_ino == self._inode:
                return
        except OSError:
            pass
        os._exit(LOST_CONNECTION)

    def send(self, message: Message) -> None:
        """Send ``message``; exit the process if the connection is lost."""
        if self.forked:
            return
        data = encode(message)
        with self._lock:
            self.verify()
            try:
                self._connection.sendall(data)
            except OSError:
                os._exit(LOST_CONNECTION)

    def next(self) -> Message | None:
        """Wait for the next request and return it; return None when the parent is gone.

        Reads everything that has arrived first, because a ``halt`` cancels the requests before it.
        """
        if self._pending:
            with contextlib.suppress(BlockingIOError):
                self._receive(socket.MSG_DONTWAIT)
        while not self._pending:
            if not self._receive(0):
                return None
        return self._pending.popleft()

    def _receive(self, flags: int) -> bool:
        try:
            data = self._connection.recv(_READ_BYTES, flags)
        except ConnectionError:
            data = b""
        for message in self._decoder.feed(data):
            if message["do"] == "halt":
                self._pending.clear()
                self.send({"say": "halted"})
            else:
                self._pending.append(message)
        return bool(data)

    def wait_until_killed(self) -> None:
        """Ignore further requests until the parent kills this process or closes the connection."""
        while self._receive(0):
            self._pending.clear()


class ChannelHandler(logging.Handler):
    """Sends each log entry immediately, so that a crash does not lose it; limits the number of entries."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.INFO)
        self._channel = channel
        self._count = 0

    def begin(self) -> None:
        """Reset the counter at the start of an attempt."""
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send ``record``; beyond 2,000 entries only 200 more of level WARNING or above."""
        if self._channel.forked:
            stream = 2 if record.levelno >= logging.WARNING else 1
            os.write(stream, f"{_message(record)}\n".encode(errors="replace"))
            return
        if not self._within_limit(record.levelno):
            return
        text = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
        self.log(record.created, record.levelno, record.name, _message(record), text)

    def _within_limit(self, level: int) -> bool:
        """Count an entry of ``level`` and return whether to send it."""
        if self._count < _MAX_LOG_ENTRIES:
            self._count += 1
            return True
        if self._count == _MAX_LOG_ENTRIES:
            self._count += 1
            note = (
                f"more than {_MAX_LOG_ENTRIES:,} log entries: "
                f"only {_MAX_EXTRA_WARNINGS} more follow, of level WARNING or above"
            )
            self.log(time.time(), logging.WARNING, "eas.worker", note)
        if level < logging.WARNING or self._count > _MAX_LOG_ENTRIES + _MAX_EXTRA_WARNINGS:
            return False
        self._count += 1
        return True

    def log(self, when: float, level: int, logger: str, message: str, trace: str | None = None) -> None:
        """Send one log entry regardless of the limits on their number; cut the middle out of long texts."""
        text = clip(storable_text(message), _MAX_LOG_TEXT)
        entry = [when, level, storable_text(logger), text, trace and clip(storable_text(trace), _MAX_LOG_TEXT)]
        self._channel.send({"say": "log", "entry": entry})


def _message(record: logging.LogRecord) -> str:
    """Return the formatted message, or the unformatted one if its arguments do not match the format."""
    try:
        return record.getMessage()
    except Exception:
        return f"{record.msg!s} (its arguments do not fit)"
