"""``python -m infra.deploy.drain``: ask the EAS workers of this container to exit, and wait for them.

Kubernetes calls it before it ends a worker's pod (``preStop``): a worker then finishes its task and
returns the tasks it has not started, and its flow run ends as completed. Kubernetes waits at most for the
pod's grace period; the reconciler returns interrupted tasks to the queue. Linux only; it imports only the
standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

PROC = Path("/proc")
SETTLE_TIMEOUT = 5.0
"""Maximum time for the flow run to report its state after its workers have exited [s]."""


def worker_pids(proc: Path = PROC) -> list[int]:
    """Return the process numbers of the workers: ``... -m eas worker ...``."""
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if any(words[at : at + 3] == [b"-m", b"eas", b"worker"] for at in range(len(words))):
                found.append(int(folder.name))
    return sorted(found)


def _is_worker(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        status = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def drain(proc: Path = PROC, settle: float = SETTLE_TIMEOUT) -> None:
    """Ask the workers to exit; return when they, and shortly after them the container's first process, have exited."""
    found = worker_pids(proc)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    while any(_is_worker(pid) for pid in found):
        time.sleep(0.2)
    deadline = time.monotonic() + settle
    while found and _is_worker(1) and time.monotonic() < deadline:
        time.sleep(0.2)


def main() -> int:
    """Drain, then return 0, because Kubernetes ignores failures of a preStop hook."""
    drain()
    return 0


if __name__ == "__main__":
    sys.exit(main())
