"""The worker's handle of the process that cleans up after it, should it be killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

import psutil

from eas.worker.protocol import FAMILY


class Guard:
    """A process that kills all descendants of a worker's children when the worker is gone, even by SIGKILL.

    Attributes
    ----------
    family:
        What marks these descendants.
    """

    def __init__(self) -> None:
        self.family = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        if not psutil.LINUX:
            return  # nowhere else can a process be found by its environment this simply
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard_process.py")), FAMILY],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
        self._write(self.family.encode())

    def _write(self, word: bytes) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # the guard was killed: nothing is lost but its help
                self._process.stdin.write(word + b"\0")
                self._process.stdin.flush()

    def remove(self, folder: Path | str) -> None:
        """Let ``folder`` be removed, too, once the worker is gone."""
        self._write(os.fsencode(folder))

    def close(self) -> None:
        """Kill what is left, and end."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
