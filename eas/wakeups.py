"""Wake-ups between the processes of one machine: a hint to look into the task database now.

Who waits for something binds a datagram socket in a folder that belongs to one task database and one
user; who has committed something sends a byte to all sockets of a channel. SQL says what there is, and
everybody looks there from time to time: a wake-up may be lost, come twice or for nothing. Processes on
other machines, and where such sockets cannot be made, find out as they look.
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

LONGEST_PATH = 100
"""Characters of a socket's path that every system allows."""

JOBS = "jobs"
"""The channel of jobs that were submitted or can run again, which supervisors listen on."""

_numbers = itertools.count()


def channel_of(job_id: int) -> str:
    """Return the channel of what happens to a job's tasks, which its driver listens on."""
    return f"job-{job_id}"


class Wakeups:
    """Those of one task database, which ``key`` identifies on this machine. Safe among threads and forks."""

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
        """Return who listens on a channel (letters, digits, hyphens); close it after use."""
        return Listener(self._bound(channel))

    def notify(self, channel: str) -> None:
        """Wake all who listen on a channel on this machine; never waits, and never fails."""
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
        except ConnectionRefusedError:  # it was killed
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError:  # it has ended, or has more wake-ups than it can hold
            pass

    def _socket(self) -> socket.socket:
        with self._lock:
            if self._sender is None or self._sender[0] != os.getpid():
                made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                made.setblocking(False)
                self._sender = os.getpid(), made
                # A database that is dropped without being closed, or used after that, leaves no open socket.
                self._closing = weakref.finalize(self, made.close)
            return self._sender[1]

    def _bound(self, channel: str) -> tuple[socket.socket, Path] | None:
        """Return a bound socket with its path; None where none can be made: then there are no wake-ups."""
        path = self.folder / f"{channel}.{os.getpid()}-{next(_numbers)}"
        if len(str(path)) > LONGEST_PATH or not _private(self.folder.parent):
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
    """Make a folder of this user alone; return whether it is one: others can make it first where all may write."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _close(process: int, path: Path | None, *sockets: socket.socket | None) -> None:
    """Close sockets; the path is that of the process that made it, not of one that was forked from it."""
    if path is not None and os.getpid() == process:
        path.unlink(missing_ok=True)
    for each in sockets:
        if each is not None:
            each.close()


class Listener:
    """One who waits for wake-ups; a context manager. ``wake`` may be called from any thread."""

    def __init__(self, bound: tuple[socket.socket, Path] | None) -> None:
        self.path = bound[1] if bound is not None else None
        """Where others send to; None where only this process can wake it."""
        if bound is not None:
            self._socket, self._own = bound[0], None
        else:
            self._socket, self._own = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # A queue that is dropped without being closed takes its sockets and their paths with it.
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
        """Forget the wake-ups so far; return whether there was one."""
        woken = False
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1):
                woken = True
        return woken

    def wake(self) -> None:
        """Wake it from within this process."""
        with contextlib.suppress(OSError):  # closed; or it has many already
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
