"""Clocks that are set while processes run, by libfaketime (Debian's package faketime)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from infra.services import processes

SLEEPING = Path(__file__).parent / "faked_clock"


def library() -> str | None:
    """Return the path of libfaketime; as root, Debian's package is installed where it is missing."""
    with contextlib.suppress(processes.ServiceError):
        processes.require("faketime", "faketime")
    return next(iter(sorted(map(str, Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1")))), None)


class Clock:
    """The clock of one host, as its processes see it: libfaketime reads the offset from a file.

    Monotonic clocks go on as they do: a clock that is set is the wall clock.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.library = library()
        self.set(0.0)

    def set(self, offset: float) -> None:
        """Set the clock to ``offset`` [s] beside the true time."""
        replacement = self.file.with_suffix(".new")
        replacement.write_text(f"{offset:+.3f}\n", encoding="ascii")
        replacement.replace(self.file)

    def environment(self) -> Mapping[str, str]:
        """Return what the processes of the host need; empty without libfaketime (Debian's package faketime)."""
        if self.library is None:
            return {}
        return {
            "LD_PRELOAD": self.library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(SLEEPING), os.environ.get("PYTHONPATH")])),
        }
