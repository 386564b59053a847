"""``python -m infra.deploy.drain``: ask the EAS workers of this container to leave, and wait for them.

Kubernetes calls it before it ends a worker's pod (``preStop``): a worker then finishes its task and
hands back what it has not begun, and its flow run ends as completed. Kubernetes waits for it no longer
than the pod's grace period; what is cut off is handed back by the reconciler. Linux only, and nothing
but the standard library is imported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

PROC = Path("/proc")
SETTLE = 5.0
"""When the workers are gone, the flow run that holds them may take so long to tell its state [s]."""


def workers(proc: Path = PROC) -> list[int]:
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


def _runs(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        status = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def drain(proc: Path = PROC, settle: float = SETTLE) -> None:
    """Ask the workers to leave; return when they, and shortly after them the container's first process, are gone."""
    found = workers(proc)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    while any(_runs(pid) for pid in found):
        time.sleep(0.2)
    deadline = time.monotonic() + settle
    while found and _runs(1) and time.monotonic() < deadline:
        time.sleep(0.2)


def main() -> int:
    """Drain, then return 0; there is nothing that Kubernetes could do about a failure."""
    drain()
    return 0


if __name__ == "__main__":
    sys.exit(main())
