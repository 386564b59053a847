"""The processes under test: workers, supervisors, an operator, and two `eas run` of one job."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
WORKER_TYPES = ("eas-base", "eas-worker-synthesis-psls-batman")
WORKER = ["-m", "eas", "worker", *[word for name in WORKER_TYPES for word in ("--type", name)]]
SUPERVISOR = ["-m", "tests.chaos.driver"]


class ChaosProcesses:
    """Two hosts, each with a worker and a supervisor, which are replaced when they end; and an operator.

    ``hosts`` are the environments of the processes of each host.
    """

    def __init__(self, hosts: Sequence[Mapping[str, str]], folder: Path, rng: random.Random) -> None:
        self.hosts, self.folder, self.rng = hosts, folder, rng
        self.workers = [self._start(WORKER, host) for host in hosts]
        self.supervisors = [self._start(SUPERVISOR, host) for host in hosts]
        self.operator = self._operator()
        self.runs: list[subprocess.Popen[bytes]] = []
        self.restarts = 0

    def _operator(self) -> subprocess.Popen[bytes]:
        return self._start(["-m", "tests.chaos.operator", str(self.rng.random())], self.hosts[0], "operator.log")

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: str = "processes.log"
    ) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as output, (self.folder / "processes.log").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=os.environ | dict(environment),
                cwd=REPOSITORY,
                start_new_session=True,
            )

    def run(self, *arguments: str) -> None:
        """Start `eas run`, which ends by itself."""
        self.runs.append(self._start(["-m", "eas", "run", "--workers", "1", *arguments], self.hosts[0], "runs.log"))

    def mend(self) -> None:
        """Start those again that have ended."""
        for processes, arguments in ((self.workers, WORKER), (self.supervisors, SUPERVISOR)):
            for number, process in enumerate(processes):
                if process.poll() is not None:
                    processes[number] = self._start(arguments, self.hosts[number])
                    self.restarts += 1
        if self.operator.poll() is not None:
            self.operator = self._operator()

    def commands(self) -> int:
        """Return how many commands of the operator were carried out."""
        lines = (self.folder / "operator.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return sum(not line.startswith("#") for line in lines)

    def stop_operator(self) -> None:
        """End the operator permanently."""
        _end([self.operator])

    def end(self) -> None:
        """End all of them."""
        _end([*self.runs, *self.workers, *self.supervisors, self.operator])


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
    for process in processes:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
