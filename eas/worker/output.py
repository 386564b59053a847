"""Reads a child's standard output and error in the parent, split by attempt and limited in size."""

from __future__ import annotations

import os
import time
from collections import deque

from eas.model import LogEntry

_CHUNK = 1 << 16
_KEEP = 1 << 15
"""Number of bytes that are kept of an attempt's first output, and of its last."""


class _Clip:
    """Keeps the first and the last bytes of a stream, and counts those in between."""

    def __init__(self) -> None:
        self.began = 0.0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = self._left_out = 0

    def add(self, data: bytes) -> None:
        if not self._head:
            self.began = time.time()
        room = _KEEP - len(self._head)
        self._head += data[:room]
        rest = data[room:] if room > 0 else data
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
            while self._tail_size - len(self._tail[0]) >= _KEEP:
                self._left_out += len(self._tail[0])
                self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """Return the output as text; of lines overwritten by a carriage return only the last version."""
        if not self._head:
            return ""
        tail = b"".join(self._tail)
        left_out = self._left_out + max(0, len(tail) - _KEEP)
        note = f"\n[... {left_out} bytes left out ...]\n".encode() if left_out else b""
        text = b"".join((self._head, note, tail[-_KEEP:])).decode("utf-8", "replace")
        lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
        return "\n".join(lines).rstrip()


class OutputStream:
    """One stream of a child (its standard output or error).

    Parameters
    ----------
    fd:
        Read end of the pipe; it is made non-blocking, and closed by ``close``.
    name, level:
        Logger name and level of its log entries.
    marker:
        Bytes that the child writes after the output of each attempt.
    """

    def __init__(self, fd: int, name: str, level: int, marker: bytes) -> None:
        self.fd, self._name, self._level, self._marker = fd, name, level, marker
        self.ended = False
        self._carry = b""
        self._current = _Clip()
        self._complete: deque[_Clip] = deque()
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Read a chunk of the available output; return whether there may be more."""
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.ended = True
            return False
        count, rest = divmod(len(data), len(self._marker))
        if not rest and not self._carry and data == self._marker * count:  # attempts that printed nothing
            self._complete.append(self._current)
            self._complete.extend(_Clip() for _ in range(count - 1))
            self._current = _Clip()
        else:
            self._feed(data)
        return len(data) == _CHUNK

    def _feed(self, data: bytes) -> None:
        *ended, rest = (self._carry + data).split(self._marker)
        for part in ended:
            self._current.add(part)
            self._complete.append(self._current)
            self._current = _Clip()
        # A marker may have been cut in two: what could be its beginning waits for the next chunk.
        keep = next((n for n in range(len(self._marker) - 1, 0, -1) if rest.endswith(self._marker[:n])), 0)
        self._current.add(rest[: len(rest) - keep])
        self._carry = rest[len(rest) - keep :]

    def take(self) -> LogEntry | None:
        """Return the output of the attempt that has just ended, if it printed anything."""
        while not self._complete and self.read():
            pass
        if self._complete:
            clip = self._complete.popleft()
        else:  # the process died or closed the stream: no marker will follow
            clip, self._current = self._current, _Clip()
        text = clip.text()
        return LogEntry(clip.began, self._level, self._name, text) if text else None

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.fd)
