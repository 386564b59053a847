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
        Value of the environment variable ``FAMILY`` that marks these descendants.
    """

    def __init__(self) -> None:
        self.family = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        if not psutil.LINUX:
            return  # other systems do not expose the environment of other processes in /proc
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
            with contextlib.suppress(BrokenPipeError):  # the guard was killed: the worker can continue without it
                self._process.stdin.write(word + b"\0")
                self._process.stdin.flush()

    def remove(self, folder: Path | str) -> None:
        """Register ``folder`` for removal when the worker is gone."""
        self._write(os.fsencode(folder))

    def close(self) -> None:
        """Make the guard kill the remaining processes and remove the folders; wait for it to exit."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
