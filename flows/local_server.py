"""The Prefect server of an EAS home folder: ``eas run`` starts it if none is configured; it keeps running.

One server serves all runs of a home folder, on loopback only, and stops after it has been unused
for a while. Its process runs ``flows/local_server_process.py``; this module does not import Prefect.

Two file locks, which the kernel releases even after ``kill -9``, coordinate them: the server holds
``server.lock`` while it runs, and each run holds ``server.users`` (shared) while it needs the server.
The file ``server.json`` contains the address of the holder of ``server.lock``. Before a server stops, it
acquires ``server.users`` exclusively and keeps it until its process ends: a run that starts meanwhile
waits, and then starts the next server.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from eas.errors import RequestError, ServiceError

START_TIMEOUT = 120.0
"""Maximum time for the start of a server [s]."""
STOP_TIMEOUT = 30.0
LOCK, USERS, ADDRESS, LOG = "server.lock", "server.users", "server.json", "server.log"

_processes: list[subprocess.Popen[bytes]] = []
"""Servers that this process has started: they outlive it."""


class Address(NamedTuple):
    """Address of a server: process id, port on loopback, start time [Unix s]."""

    pid: int
    port: int
    started_at: float

    @property
    def url(self) -> str:
        """The URL of its API."""
        return f"http://127.0.0.1:{self.port}/api"


class LocalServer:
    """The server that keeps its database in ``folder``, whether it runs or not.

    Parameters
    ----------
    idle:
        Time without use after which a server that this object starts stops [s].
    """

    def __init__(self, folder: Path, idle: float) -> None:
        self.folder = folder
        self.idle = idle
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the server from stopping by itself until the block ends. It need not run yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / USERS).open("a") as users:
            fcntl.flock(users, fcntl.LOCK_SH)  # waits for a server that is stopping
            yield

    def start(self) -> bool:
        """Start the server unless it runs, without waiting for it; return whether it had to be started."""
        if self._process is not None and self._process.poll() is None:
            return True
        if self._locked():
            return False
        with (self.folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                # -P: the working directory may hold a user's own package called flows.
                [sys.executable, "-P", "-m", "flows.local_server_process", str(self.folder), f"{self.idle:g}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
        _processes.append(self._process)
        return True

    def ready(self) -> Address | None:
        """Return the server's address if it answers now; start it if none runs.

        Raises ServiceError where the server that was started here has failed.
        """
        address = self.address()
        if address is not None and _is_healthy(address.url) and self.address() == address:
            return address
        # It exits with 0 if another server is running, which may have stopped since.
        if self._process is not None and self._process.poll() not in (None, 0) and not self._locked():
            raise self._raise_start_error("ended")
        self.start()
        return None

    def wait(self) -> Address:
        """Wait until the server answers. Raises ServiceError where it does not come up."""
        deadline = time.monotonic() + START_TIMEOUT
        while (address := self.ready()) is None:
            if time.monotonic() >= deadline:
                raise self._raise_start_error(f"does not answer after {START_TIMEOUT:.0f} s")
            time.sleep(0.05)
        return address

    def address(self) -> Address | None:
        """Return the server's address; None if none runs, or if it is still starting."""
        try:
            address = Address(**json.loads((self.folder / ADDRESS).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return address if self._locked() else None

    def in_use(self) -> bool:
        """Whether a run uses the server now."""
        try:
            with (self.folder / USERS).open("r") as users:
                return not lock(users, fcntl.LOCK_EX)
        except FileNotFoundError:
            return False

    def stop(self) -> Address | None:
        """Stop the server, and return where it was; None if none runs.

        Raises RequestError while runs use it, ServiceError where it does not stop.
        """
        if (address := self.address()) is None:
            return None
        with (self.folder / USERS).open("a") as users:
            if not lock(users, fcntl.LOCK_EX):
                raise RequestError(
                    f"the Prefect server {address.url} is in use by `eas run`",
                    hint="wait for the run to end, or interrupt it (Ctrl-C)",
                )
            # Only the holder of the lock writes the address, so the process is the server.
            with suppress(ProcessLookupError):
                os.kill(address.pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_TIMEOUT
            while self.address() == address:
                if time.monotonic() >= deadline:
                    raise ServiceError(
                        f"the Prefect server (process {address.pid}) does not stop", hint=f"kill -9 {address.pid}"
                    )
                time.sleep(0.05)
        return address

    def _locked(self) -> bool:
        """Whether a server runs, or starts."""
        try:
            with (self.folder / LOCK).open("r") as held:
                return not lock(held, fcntl.LOCK_EX)
        except FileNotFoundError:
            return False

    def _raise_start_error(self, how: str) -> ServiceError:
        return ServiceError(
            f"the local Prefect server {how}; its log is {self.folder / LOG}",
            hint="set PREFECT_API_URL to a server of your own (`prefect server start`)",
        )


def lock(file: IO[str], kind: int, timeout: float = 0.0) -> bool:
    """Take a lock on a file; return whether it was free within ``timeout`` [s]. Closing the file releases it."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def _environment() -> dict[str, str]:
    """Return the environment of a server, without the PREFECT_ and EAS_ variables of this process."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "EAS_"))}


def _is_healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{url}/health", timeout=2).close()
    except OSError:
        return False
    return True
