"""Isolates attempts from each other inside one child: memory limit, signals, log handlers, output streams.

The state is saved once and restored after each attempt, whatever the task's code has changed. Imported by
the child only.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import sys
import threading
from typing import Any

from eas.worker.protocol import MEGABYTE

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = ("SIGINT", "SIGTERM", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGUSR1")
_HEADROOM = 1.25
"""Factor by which mapped private memory may exceed the limit: mapped but unused pages cost nothing."""
_RESERVE = 256 * MEGABYTE
"""Memory [bytes] added to the limit after a MemoryError, so that the child can report the error."""
_MAX_DAEMONS = 16


def exit_with_parent(parent: int) -> None:
    """Make the kernel kill this process when ``parent`` (the thread that started it) ends.

    On other systems, the child exits when the connection closes.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # Processes that the task leaves behind become children of this process, which can then see them.
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent:  # the parent died before prctl() took effect
        os._exit(0)


class Sandbox:
    """Saves and restores the state of the process that an attempt must not change for later attempts.

    Parameters
    ----------
    memory_limit:
        MB that the task's code may use, or None.
    marker:
        What to write to standard output and error when an attempt has ended: with requests in the
        pipeline, the parent could not tell otherwise where the next attempt's output begins.
    home:
        Working directory between attempts.
    """

    def __init__(self, memory_limit: float | None, marker: bytes, home: str) -> None:
        self._marker, self._home = marker, home
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
        faulthandler.enable()  # prints the traceback of a segmentation fault to standard error
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._limit = _limit_memory(memory_limit)
        self._signals = {number: signal.getsignal(number) for number in map(_signal, _SIGNALS)}
        self._streams: tuple[tuple[int, int, Any], ...] = tuple((fd, os.dup(fd), _identity(fd)) for fd in (1, 2))
        self._standard = (sys.stdout, sys.stderr)
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._recursion = sys.getrecursionlimit()
        self._flush = ctypes.CDLL(None).fflush if os.name == "posix" else lambda _: 0
        os.register_at_fork(after_in_child=self._close_saved_streams)

    def _close_saved_streams(self) -> None:
        for _, saved, _ in self._streams:
            with contextlib.suppress(OSError):
                os.close(saved)

    def raise_memory_limit(self) -> None:
        """Raise the memory limit after a MemoryError, so that the child can report the error."""
        if self._limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (self._limit + _RESERVE, self._limit + _RESERVE))

    def restore(self, handler: logging.Handler) -> None:
        """Restore what the task's code may have changed: signals, log handlers, limits."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, action in self._signals.items():
            if signal.getsignal(number) is not action:
                signal.signal(number, action)
        root = logging.getLogger()
        if root.handlers != [handler]:
            root.handlers[:] = [handler]
        if root.level != logging.INFO:
            root.setLevel(logging.INFO)
        if root.manager.disable:
            logging.disable(logging.NOTSET)
        os.umask(self._umask)
        sys.setrecursionlimit(self._recursion)

    def end_output(self) -> None:
        """Flush what the task printed, from Python or C, and mark its end on both streams."""
        for stream in {sys.stdout, sys.stderr, *self._standard}:
            with contextlib.suppress(Exception):
                stream.flush()
        sys.stdout, sys.stderr = self._standard
        self._flush(None)
        for fd, saved, identity in self._streams:
            if _identity(fd) != identity:
                os.dup2(saved, fd)
            with contextlib.suppress(OSError):
                os.set_blocking(saved, True)
                os.write(saved, self._marker)

    def leftovers(self) -> str:
        """Reap ended processes; return which of "processes" and "threads" the task left running."""
        found = []
        if _children_alive():
            found.append("processes")
        if threading.active_count() > 1:
            others = [each for each in threading.enumerate() if each is not threading.main_thread()]
            # Daemon threads are by convention helpers of libraries (progress bars, caches).
            if len(others) > _MAX_DAEMONS or not all(each.daemon for each in others):
                found.append("threads")
        return " and ".join(found)

    def leave_scratch(self) -> None:
        """Change to a working directory that is not removed after the attempt."""
        try:
            os.chdir(self._home)
        except OSError:
            os.chdir("/")


def _signal(name: str) -> int:
    return int(getattr(signal, name))


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _limit_memory(megabytes: float | None) -> int | None:
    """Set the soft limit on private memory; return it [bytes], or None where there is none."""
    if megabytes is None:
        return None
    limit = int(megabytes * MEGABYTE * _HEADROOM)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit + _RESERVE))
    except (OSError, ValueError):  # sampling by the parent still enforces the limit
        return None
    return limit


def _children_alive() -> bool:
    """Reap every child that has ended, and return whether others are still alive."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
