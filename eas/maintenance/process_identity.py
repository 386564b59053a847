"""Identifies this machine and its processes, so that a killed worker on it is detected immediately.

A host name is not sufficient: containers share names, and a process id is unique only within one boot and one
process namespace.
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
def machine_id() -> str:
    """Return an identifier of this boot of this machine and this process namespace."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        parts.append(f"{psutil.boot_time():.0f}")  # not Linux: no namespaces either
    return "/".join(parts)[:160]


def this_process() -> Process:
    """Return the identity of this process, by which other processes on this machine can check it."""
    return Process(machine_id(), os.getpid(), _started(psutil.Process()))


def process_name() -> str:
    """Return a unique name for this process as the owner of a lease; ``is_dead_here`` tests such names.

    At most 60 characters: the machine (hashed), process number and start, and something random.
    """
    return f"{_process_prefix()}:{uuid.uuid4().hex[:12]}"


def reservation() -> str:
    """Return the name under which this process reserves a lease for one of its threads or children."""
    return f"{_process_prefix()}:reserved"


def is_dead_here(name: str) -> bool:
    """Return whether ``name``, made by ``process_name``, belongs to a dead process of this machine."""
    place, _, rest = name.partition(":")
    pid, _, rest = rest.partition(":")
    started, _, _ = rest.partition(":")
    if place != _hashed(machine_id()):
        return False  # the process can only be checked on its own machine
    return not is_alive(Process(machine_id(), int(pid), float(started)))


def _started(process: psutil.Process) -> float:
    """Return the start time of ``process`` [s] since boot, which changes of the system clock do not affect."""
    if not psutil.LINUX:
        return process.create_time()
    try:
        # The name, in brackets, may hold blanks and brackets; the start is the 22nd field.
        fields = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(process.pid) from None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _process_prefix() -> str:
    process = this_process()
    return f"{_hashed(process.machine)}:{process.pid}:{process.started:.2f}"


def _hashed(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def is_alive(process: Process) -> bool:
    """Return whether a process of this machine still runs; its start time detects a reused process id."""
    try:
        found = psutil.Process(process.pid)
        same = abs(_started(found) - process.started) < 1.0
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
