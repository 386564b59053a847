"""Start, find and stop servers that keep running after the command that starts them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

START_TIMEOUT = 240.0
"""Timeout for the start of a server [s]."""
PROGRAM_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/sbin", "/usr/bin")
"""Folders of server programs in Debian's packages. The first one has RabbitMQ's programs themselves, because their
wrappers in /usr/sbin change user and folder."""


class ServiceError(Exception):
    """A service cannot be started; the message contains a hint."""


def require(program: str, package: str) -> str:
    """Return the path of ``program``; if it is missing, root installs Debian's ``package``."""
    search = ":".join(["/usr/lib/rabbitmq/bin", os.environ.get("PATH", ""), *PROGRAM_FOLDERS])
    found = shutil.which(program, path=search)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # Prevent the package from starting its own instance.
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        found = shutil.which(program, path=search)
    if found is None:
        raise ServiceError(f"{program} is not installed: apt-get install {package}")
    return found


def start(command: Sequence[str], *, log: Path, pid_file: Path, environment: Mapping[str, str] | None = None) -> None:
    """Start a server in a new session and write its process id to ``pid_file``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,
        )
    started = psutil.Process(process.pid).create_time()
    pid_file.write_text(f"{process.pid} {started}", encoding="ascii")


def find(pid_file: Path) -> psutil.Process | None:
    """Return the process of ``pid_file``; None if it has ended or its process id belongs to another process."""
    try:
        pid, started = pid_file.read_text(encoding="ascii").split()
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(started)) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, psutil.NoSuchProcess):
        pass
    return None


def wait_until(ready: Callable[[], bool], *, pid_file: Path, log: Path, what: str) -> None:
    """Wait until a server is ready; raise ServiceError with the end of its log if it is not."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if ready():
            return
        if find(pid_file) is None:
            break
        time.sleep(0.1)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]) if log.exists() else ""
    raise ServiceError(f"{what} did not start; the end of {log}:\n{tail}")


def end(pid_file: Path, *, how: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> bool:
    """Stop a server and its child processes; return whether it ran."""
    process = find(pid_file)
    if process is None:
        pid_file.unlink(missing_ok=True)
        return False
    family = [process, *process.children(recursive=True)]
    targets = [process] if how is signal.SIGTERM else family
    for each in targets:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(how)
    _, alive = psutil.wait_procs(family, timeout=timeout)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(alive, timeout=5.0)
    pid_file.unlink(missing_ok=True)
    return True
