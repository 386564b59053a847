"""Wake-ups between the processes of one machine: a notification to poll the task database now.

A waiting process binds a datagram socket in a folder that belongs to one task database and one user. A process
that has committed a change sends a byte to all sockets of a channel. Every process polls the database anyway, so
a wake-up may be lost, duplicated or spurious. Processes on other machines, and systems without such sockets, rely
on polling alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import select
import socket
import stat
import tempfile
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_SOCKET_PATH = 100
"""Maximum length of a socket's path that every system allows [characters]."""

JOBS = "jobs"
"""Channel for submitted and rescheduled jobs; supervisors listen on it."""

_numbers = itertools.count()


def channel_of(job_id: int) -> str:
    """Return the channel for ended tasks of a job; the job's driver listens on it."""
    return f"job-{job_id}"


class Wakeups:
    """Wake-ups of one task database, which ``key`` identifies on this machine. Thread-safe and fork-safe."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._sender: tuple[int, socket.socket] | None = None
        self._closing: weakref.finalize[..., Wakeups] | None = None
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the sockets are."""
        digest = hashlib.sha256(self._key.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"eas-{os.getuid()}" / digest

    def listen(self, channel: str) -> Listener:
        """Return a listener on a channel (letters, digits, hyphens); close it after use."""
        return Listener(self._bind(channel))

    def notify(self, channel: str) -> None:
        """Wake all listeners on a channel on this machine; never blocks and never raises."""
        try:
            with os.scandir(self.folder) as found:
                names = [each.name for each in found if each.name.rpartition(".")[0] == channel]
        except OSError:
            return  # no process has listened yet
        for name in names:
            self._send(self.folder / name)

    def close(self) -> None:
        """Close what was opened to notify others."""
        with self._lock:
            if self._closing is not None:
                self._closing()
            self._sender = self._closing = None

    def _send(self, path: Path) -> None:
        try:
            self._socket().sendto(b"!", str(path))
        except ConnectionRefusedError:  # the listening process was killed
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError:  # the listener is closed, or its buffer is full of wake-ups
            pass

    def _socket(self) -> socket.socket:
        with self._lock:
            if self._sender is None or self._sender[0] != os.getpid():
                made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                made.setblocking(False)
                self._sender = os.getpid(), made
                # Closes the socket if the object is garbage-collected without ``close``.
                self._closing = weakref.finalize(self, made.close)
            return self._sender[1]

    def _bind(self, channel: str) -> tuple[socket.socket, Path] | None:
        """Return a bound socket with its path; None if it cannot be created: then only this process can wake it."""
        path = self.folder / f"{channel}.{os.getpid()}-{next(_numbers)}"
        if len(str(path)) > MAX_SOCKET_PATH or not _private(self.folder.parent):
            return None
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()  # of an earlier process with this id
            made.bind(str(path))
        except OSError:
            made.close()
            return None
        return made, path


def _private(folder: Path) -> bool:
    """Create a private folder; return whether it is private, because other users may have created it first."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _close(process: int, path: Path | None, *sockets: socket.socket | None) -> None:
    """Close sockets; remove the path only in the process that created it, not in a forked one."""
    if path is not None and os.getpid() == process:
        path.unlink(missing_ok=True)
    for each in sockets:
        if each is not None:
            each.close()


class Listener:
    """Receives wake-ups; a context manager. ``wake`` is thread-safe."""

    def __init__(self, bound: tuple[socket.socket, Path] | None) -> None:
        self.path = bound[1] if bound is not None else None
        """Path to which other processes send; None if only this process can wake it."""
        if bound is not None:
            self._socket, self._own = bound[0], None
        else:
            self._socket, self._own = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # Closes the sockets and removes the path if the object is garbage-collected without ``close``.
        self._closing = weakref.finalize(self, _close, os.getpid(), self.path, self._own, self._socket)

    def fileno(self) -> int:
        """Return the descriptor that can be read once there is a wake-up."""
        return self._socket.fileno()

    def wait(self, timeout: float) -> bool:
        """Wait for a wake-up, at most for ``timeout`` seconds; return whether there was one since the last call."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        woken = bool(poll.poll(max(0.0, timeout) * 1000))
        return self.clear() or woken

    def clear(self) -> bool:
        """Discard the wake-ups received so far; return whether there was one."""
        woken = False
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1):
                woken = True
        return woken

    def wake(self) -> None:
        """Wake it from within this process."""
        with contextlib.suppress(OSError):  # the listener is closed, or its buffer is full
            if self._own is not None:
                self._own.send(b"!", socket.MSG_DONTWAIT)
            else:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.setblocking(False)
                    sender.sendto(b"!", str(self.path))

    def close(self) -> None:
        """Close the socket."""
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
