"""Starts worker processes on this machine and replaces those that die."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from eas.errors import EASError
from eas.maintenance import reaper
from eas.queues.base import JobQueue
from eas.taskdb.engine import TaskDatabase

LOG = logging.getLogger("eas.local_workers")

RESTARTS = 20
"""Maximum number of dead workers that are replaced."""


class LocalWorkers:
    """Keeps ``count`` worker processes running; as a context manager it starts and stops them.

    A worker that dies is replaced, and its attempts are queued again immediately; after ``RESTARTS`` deaths
    ``check`` raises. Workers exit by themselves when this process is gone.
    """

    def __init__(
        self,
        count: int,
        worker_types: Sequence[str],
        *,
        database: TaskDatabase,
        queue: JobQueue,
        environment: dict[str, str],
        log_file: Path,
        lease: float = 300.0,
    ) -> None:
        self.count = count
        self.worker_types = worker_types
        self.database = database
        self.queue = queue
        self.environment = environment
        self.log_file = log_file
        self.lease = lease
        self.processes: list[subprocess.Popen[bytes]] = []
        self.died = 0
        self._given_up = False
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="local-workers", daemon=True)

    def __enter__(self) -> Self:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.processes = [self._start() for _ in range(self.count)]
        if self.processes:
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        # Settings travel in the environment: the URLs may hold passwords, and anyone can read
        # another process's command line.
        command = [sys.executable, "-P", "-m", "eas", "worker", "--with-parent", str(os.getpid())]
        for name in self.worker_types:
            command += ["--type", name]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                # Ctrl-C must reach this process only; it stops the workers itself.
                start_new_session=True,
            )

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            dead = [process for process in self.processes if process.poll() is not None]
            absent = len(self.processes) < self.count and self.died <= RESTARTS
            if not (dead or absent):
                continue
            for process in dead:
                self.processes.remove(process)
                self.died += 1
                LOG.warning("local worker %d ended with %s; see %s", process.pid, process.returncode, self.log_file)
            self._replace()
            self._given_up = not self.processes and self.died > RESTARTS
            with contextlib.suppress(EASError):  # the next pass, or another worker, reaps them
                reaper.reap(self.database, self.queue, self.lease)

    def _replace(self) -> None:
        """Start missing workers, up to the limit of restarts; a failed start counts as a death."""
        while len(self.processes) < self.count and self.died <= RESTARTS:
            try:
                self.processes.append(self._start())
            except OSError as error:  # out of processes, descriptors or memory: the next pass tries again
                self.died += 1
                LOG.warning("no local worker can be started: %s", error)
                return

    def check(self) -> None:
        """Raise EASError if all workers have died and none will be restarted, because no task would ever run."""
        if self._given_up and not self._stopping.is_set():
            raise EASError(
                f"the local workers died {self.died} times and are not restarted",
                hint=f"see {self.log_file} for the reason, then resume the job: tasks that are done do not run again",
            )

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the workers with SIGTERM; kill those that still run after ``timeout`` seconds."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
