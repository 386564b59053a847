"""Liveness of processes without a port: they touch a file, ``python -m infra.deploy.alive`` looks at its age.

Nothing but the standard library is imported: Kubernetes asks often.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

OLD = 120.0
"""A process that has not touched its file for this time [s] hangs."""
EVERY = 5.0


def file() -> Path:
    """Return the file of this container."""
    return Path(os.environ.get("EAS_ALIVE_FILE") or Path(tempfile.gettempdir()) / "eas-alive")


def touch() -> None:
    """Record that this process is alive."""
    file().touch()


def keep_touching() -> None:
    """Touch the file from a thread of its own, as long as this process can run threads."""

    def run() -> None:
        while True:
            touch()
            time.sleep(EVERY)

    threading.Thread(target=run, name="alive", daemon=True).start()


def age() -> float:
    """Return how long ago the file was touched [s]; infinity where it never was."""
    try:
        return time.time() - file().stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def main() -> int:
    """Exit with 0 if the process is alive."""
    found = age()
    if found < OLD:
        return 0
    sys.stderr.write(f"no sign of life for {found:.0f} s\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
