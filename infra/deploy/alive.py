"""Liveness of processes without a port: they touch files; ``python -m infra.deploy.alive [SECONDS]`` checks the age.

The time of a file is the monotonic clock of the machine, which both processes read: the wall clock may be set.

A process with several loops has a file for each: the oldest one counts, so that no loop hides that another one hangs.
Imports only the standard library, because Kubernetes runs the probe often.
"""

from __future__ import annotations

import glob
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

OLD = 120.0
"""Default age [s] of a file after which its process counts as hanging."""
EVERY = 5.0


def file(loop: str = "") -> Path:
    """Return the file of this container, or of one loop of its process."""
    path = Path(os.environ.get("EAS_ALIVE_FILE") or Path(tempfile.gettempdir()) / "eas-alive")
    return path.with_name(f"{path.name}-{loop}") if loop else path


def touch(loop: str = "") -> None:
    """Record that this process, or one of its loops, is alive. Each loop must be touched before it begins."""
    path, now = file(loop), time.monotonic()
    path.touch()
    os.utime(path, (now, now))


def keep_touching() -> None:
    """Touch the file periodically from a separate thread, as long as this process can run threads."""

    def run() -> None:
        while True:
            touch()
            time.sleep(EVERY)

    threading.Thread(target=run, name="alive", daemon=True).start()


def ages() -> Iterator[tuple[float, str]]:
    """Yield how long ago each file was touched [s], and its name."""
    found = file()
    for path in found.parent.glob(f"{glob.escape(found.name)}*"):
        yield time.monotonic() - path.stat().st_mtime, path.name


def age() -> float:
    """Return the age of the oldest file [s]; infinity if there is none."""
    return max(ages(), default=(float("inf"), ""))[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit with 0 if the process, and each of its loops, is alive; the command line may say how old is too old [s]."""
    given = sys.argv[1:] if arguments is None else arguments
    found, name = max(ages(), default=(float("inf"), file().name))
    if found < (float(given[0]) if given else OLD):
        return 0
    sys.stderr.write(f"no liveness update for {found:.0f} s ({name})\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
