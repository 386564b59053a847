"""The parent's handle of one child process: connection, output streams and exit status."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eas.model import LogEntry, Usage
from eas.worker.guard import Guard
from eas.worker.message_validation import checked
from eas.worker.output import OutputStream
from eas.worker.processes import describe_end, environment, kill_family
from eas.worker.protocol import LOST_CONNECTION, MEGABYTE, Decoder, Message, encode

_CHUNK = 1 << 18
_CONNECTION_ONLY_POLL = 5
"""First poll only the connection for this time [ms], then also the output: saves 5 % CPU for empty tasks."""


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """Options of a child process; ``Executor`` documents each."""

    threads: int
    memory_limit: float | None
    input_directory: Path
    recycle_after: int
    recycle_memory: float
    python_path: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ChildExit:
    """Why a child ended, with the CPU time [s] and the peak memory [MB] since its last result."""

    reason: str
    cpu: float
    peak_memory: float


class ChildProcess:
    """A started child process.

    Attributes
    ----------
    ready:
        Whether the child has sent ``ready``.
    lost:
        Whether the connection is closed or the process has exited.
    totals:
        CPU time [s] since the child's start, as of its last result: its own, and that of its children.
    resident:
        Resident memory [MB] of the child when it became ready.
    """

    def __init__(self, options: ChildOptions, guard: Guard) -> None:
        self.ready = self.lost = self._protocol_violated = False
        self.totals = (0.0, 0.0)
        self.resident = 0.0
        self._tag = secrets.token_hex(16)
        self._decoder = Decoder()
        self._outgoing = bytearray()
        self._poll, self._quick_poll = select.poll(), select.poll()
        self._has_unsent_data = self._has_output = False
        self._temporary = tempfile.mkdtemp(prefix="eas-")
        guard.remove(self._temporary)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = self._start(options, theirs.fileno(), guard.family)
        self._socket.setblocking(False)
        self._watch_streams()
        self.send(
            {
                "do": "start",
                "threads": options.threads,
                "memory_limit": options.memory_limit,
                "recycle_after": options.recycle_after,
                "recycle_memory": options.recycle_memory,
                "input_directory": str(options.input_directory),
                "marker": self._tag,
                "home": self._temporary,
            }
        )

    def _start(self, options: ChildOptions, fd: int, family: str) -> subprocess.Popen[bytes]:
        environ = environment(
            os.environ,
            threads=options.threads,
            tag=self._tag,
            family=family,
            temporary=self._temporary,
            python_path=options.python_path,
        )
        # -P: no module is taken from the working directory; -u: what was printed before a crash is seen.
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-u", "-m", "eas.worker.child", str(fd), str(os.getpid())],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(fd,),
            cwd=self._temporary,
            env=environ,
            start_new_session=True,
        )

    def _watch_streams(self) -> None:
        marker = bytes.fromhex(self._tag)
        assert self._process.stdout and self._process.stderr
        self.streams = (
            OutputStream(os.dup(self._process.stdout.fileno()), "stdout", logging.INFO, marker),
            OutputStream(os.dup(self._process.stderr.fileno()), "stderr", logging.WARNING, marker),
        )
        self._process.stdout.close()
        self._process.stderr.close()
        self._exit_fd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None
        for stream in self.streams:
            self._poll.register(stream.fd, select.POLLIN)
        for fd in (self._socket.fileno(), self._exit_fd):
            if fd is not None:
                self.watch(fd)

    @property
    def pid(self) -> int:
        """Process id of the child, and the id of its process group."""
        return self._process.pid

    def watch(self, fd: int) -> None:
        """Make ``wait`` return when ``fd`` is readable, too."""
        self._poll.register(fd, select.POLLIN)
        self._quick_poll.register(fd, select.POLLIN)

    def send(self, message: Message) -> None:
        """Send as much of ``message`` as the socket accepts without blocking; ``wait`` sends the rest."""
        self._outgoing += encode(message)
        self._flush()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:  # the child is dead: ``receive`` will notice
            sent = len(self._outgoing)
        del self._outgoing[:sent]
        if bool(self._outgoing) != self._has_unsent_data:
            self._has_unsent_data = bool(self._outgoing)
            events = select.POLLIN | (select.POLLOUT if self._has_unsent_data else 0)
            self._poll.modify(self._socket, events)
            self._quick_poll.modify(self._socket, events)

    def wait(self, timeout: float) -> list[Message]:
        """Wait up to ``timeout`` [s] for an event; return the messages received."""
        events = (
            []
            if self._has_output
            else self._quick_poll.poll(min(_CONNECTION_ONLY_POLL, max(0, math.ceil(timeout * 1000))))
        )
        if not events:
            events = self._poll.poll(max(0, math.ceil(timeout * 1000)))
        for fd, _ in events:
            for stream in self.streams:
                if fd == stream.fd:
                    self._has_output = True
                    stream.read()
                    if stream.ended:
                        self._poll.unregister(fd)
            if fd == self._exit_fd:
                self._poll.unregister(fd)
                self._quick_poll.unregister(fd)
                self.lost = True
        if self._exit_fd is None and self._has_ended(0.0):
            self.lost = True
        if self._outgoing:
            self._flush()
        return list(self.receive())

    def receive(self) -> Iterator[Message]:
        """Yield the messages that have arrived; stop at the first invalid one."""
        while not self._protocol_violated:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.lost = True
                return
            try:
                yield from map(checked, self._decoder.feed(data))
            except (ValueError, RecursionError):
                self.lost = self._protocol_violated = True
                return
            if len(data) < _CHUNK:
                return

    def output(self) -> list[LogEntry]:
        """Return the output of the attempt that has just ended."""
        self._has_output = False
        return [entry for stream in self.streams if (entry := stream.take()) is not None]

    def kill(self) -> ChildExit:
        """Kill the child and all its descendants; return why it had exited, if it had exited by itself.

        Messages that it sent before can be received until ``close``.
        """
        reason = ""
        if self._protocol_violated:
            reason = "the task's code wrote to the worker's connection"
        elif self.lost and not self._has_ended(1.0):
            reason = "the task's code closed the worker's connection"
        kill_family(self.pid, self._tag)
        try:
            _, status, used = os.wait4(self.pid, 0)
        except ChildProcessError:  # other code in this process has already reaped it
            self._process.returncode = -9
            return ChildExit(reason or "the task's process ended for an unknown reason", 0.0, 0.0)
        described = describe_end(self._process, status)
        if self._process.returncode == LOST_CONNECTION:
            reason = "the task's code closed the worker's connection"
        cpu = max(0.0, used.ru_utime + used.ru_stime - sum(self.totals))
        # Between fork and exec the child shares the parent's memory, and ru_maxrss includes that.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = used.ru_maxrss * 1024 / MEGABYTE if used.ru_maxrss > own and sys.platform == "linux" else 0.0
        return ChildExit(reason or described, cpu, max(peak, self.resident))

    def request_exit(self, timeout: float) -> None:
        """Send SIGTERM to the child's process group and wait up to ``timeout`` [s] for the child to exit."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
        self._has_ended(timeout)

    def _has_ended(self, timeout: float) -> bool:
        """Return whether the child exits within ``timeout`` [s]."""
        if self._exit_fd is not None:
            poll = select.poll()
            poll.register(self._exit_fd, select.POLLIN)
            return bool(poll.poll(int(timeout * 1000)))
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def close(self) -> None:
        """Close all file descriptors and remove the temporary directory. Call ``kill`` first."""
        self._socket.close()
        for stream in self.streams:
            stream.close()
        if self._exit_fd is not None:
            os.close(self._exit_fd)
        shutil.rmtree(self._temporary, ignore_errors=True)


def crash_usage(end: ChildExit, wall: float, peak: float, own_cpu: float) -> Usage:
    """Return the usage of an attempt whose process was lost; ``own_cpu`` [s] comes from sampling, 0 if not sampled."""
    return Usage(wall, min(own_cpu, end.cpu) or end.cpu, end.cpu, max(peak, end.peak_memory))
