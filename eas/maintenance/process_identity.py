"""Which machine this is, and whether a process on it lives: a killed worker is then found at once.

A host name will not do: containers share names, and process numbers mean something only within one
boot of one process namespace.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from functools import cache
from pathlib import Path

import psutil

from eas.taskdb.workers import Process


@cache
def machine() -> str:
    """Return what tells this boot of this machine, and this process namespace, from all others."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        parts.append(f"{psutil.boot_time():.0f}")  # not Linux: no namespaces either
    return "/".join(parts)[:160]


def this_process() -> Process:
    """Return this process as others on this machine can find it."""
    return Process(machine(), os.getpid(), _started(psutil.Process()))


def process_name() -> str:
    """Return a name for a resource of this process: others on this machine can tell whether it lives.

    At most 60 characters: the machine (hashed), process number and start, and something random.
    """
    return f"{_own_prefix()}:{uuid.uuid4().hex[:12]}"


def reservation() -> str:
    """Return the name under which this process reserves what one of its threads or children will own."""
    return f"{_own_prefix()}:reserved"


def is_gone(name: str) -> bool:
    """Return whether a name that ``process_name`` gave belongs to a dead process of this machine."""
    place, _, rest = name.partition(":")
    pid, _, rest = rest.partition(":")
    started, _, _ = rest.partition(":")
    if place != _short(machine()):
        return False  # only its own machine can tell
    return not is_alive(Process(machine(), int(pid), float(started)))


def _started(process: psutil.Process) -> float:
    """Return when ``process`` was started [s]: since the machine's start, which no step of its clock changes."""
    if not psutil.LINUX:
        return process.create_time()
    try:
        # The name, in brackets, may hold blanks and brackets; the start is the 22nd field.
        fields = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(process.pid) from None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _own_prefix() -> str:
    process = this_process()
    return f"{_short(process.machine)}:{process.pid}:{process.started:.2f}"


def _short(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def is_alive(process: Process) -> bool:
    """Return whether a process of this machine still runs (and is not another one of its number)."""
    try:
        found = psutil.Process(process.pid)
        same = abs(_started(found) - process.started) < 1.0
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
