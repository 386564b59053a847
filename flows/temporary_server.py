"""A Prefect server for as long as one ``eas run`` lasts, where none is configured.

Its database stays in the EAS home folder, so earlier runs can be looked at again later.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from eas.errors import ServiceError

START_SECONDS = 120.0
RECORD_SECONDS = 30.0
"""A server that records nothing for so long [s] is not waited for any more."""


@contextmanager
def temporary_server(folder: Path) -> Iterator[str]:
    """Start a Prefect server and give its API's URL; it ends with the block, or with this process.

    ``folder`` keeps its database. While another server uses that folder, this one's database is a
    temporary one. Raises ServiceError where it does not come up.
    """
    with ExitStack() as stack:
        home = _own_folder(folder, stack)
        port = _free_port()
        url = f"http://127.0.0.1:{port}/api"
        log_path = home / "server.log"
        log = stack.enter_context(log_path.open("ab"))
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "flows.temporary_server", str(os.getpid()), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(home, url),
            start_new_session=True,
        )
        stack.callback(_stop, process)
        # The flows take seconds to import, the server to start: both at the same time.
        importlib.import_module("flows.run_chain")
        _await_health(url, process, log_path)
        try:
            yield url
        finally:
            _send_the_rest()
            _await_records(url)


def _environment(home: Path, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "EAS_"))}
    return kept | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": url,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
    }


def _own_folder(folder: Path, stack: ExitStack) -> Path:
    """Return ``folder``, locked for this process, or a temporary one while another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eas-prefect-")))
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_health(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with opener.open(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise ServiceError(
        f"the temporary Prefect server did not come up; its log is {log_path}",
        cure="set PREFECT_API_URL to a server of your own (`prefect server start`)",
    )


def _send_the_rest() -> None:
    """Wait until Prefect's client has sent all logs and events: later the server is gone."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=20)
    EventsWorker.drain_all(timeout=60)


def _await_records(url: str) -> None:
    """Wait until the server has recorded how all task runs ended: it works off a queue, which dies with it."""
    from flows.task_runs import OPENED

    heard, seen = time.monotonic(), -1
    while time.monotonic() - heard < RECORD_SECONDS:
        try:
            counts = {run: _count_ended(url, str(run)) for run in OPENED}
        except OSError:
            return
        if all(counts[run] >= opened for run, opened in OPENED.items()):
            return
        if sum(counts.values()) > seen:
            heard, seen = time.monotonic(), sum(counts.values())
        time.sleep(0.2)


def _count_ended(url: str, flow_run: str) -> int:
    from flows.task_runs import ENDED

    body = {"flow_runs": {"id": {"any_": [flow_run]}}, "task_runs": {"state": {"type": {"any_": ENDED}}}}
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{url}/task_runs/count", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return int(json.load(answer))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _main(parent: int, port: int) -> None:
    """Become the server: a process that the kernel kills when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        return
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, command)  # noqa: S606 - our own command


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
