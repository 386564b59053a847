"""Real Prefect servers: starting one, and asking it patiently, as its sqlite file is slow on a busy machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, TIMEOUT, clean_environment, free_port, wait_for

PREFECT = [sys.executable, "-m", "prefect"]
ONE_REQUEST = 60.0
"""How long one request may take [s]; then it is sent again."""


def api_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def start(arguments: Sequence[str], environment: Mapping[str, str], port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start a server with the command line's ``arguments`` and wait until it answers."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*PREFECT, *arguments, "--port", str(port)],
            cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: _is_healthy(process, port, log), "the Prefect server")
    except BaseException:
        kill(process)
        raise
    return process


def _is_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if process.poll() is not None:
        pytest.fail(f"the Prefect server ended with {process.returncode}:\n{log.read_text(errors='replace')}")
    try:
        with urllib.request.urlopen(f"{api_url(port)}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a server and what it started."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def serving(home: Path) -> Iterator[str]:
    """Run a server that keeps everything in a folder; give its API's URL."""
    port = free_port()
    environment = clean_environment() | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": api_url(port),
    }
    process = start(["server", "start", "--host", "127.0.0.1"], environment, port, home / "server.log")
    try:
        yield api_url(port)
    finally:
        kill(process)


def ask_prefect(url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """POST to Prefect's API, or GET where there is no body; again while the server is too slow or away.

    A request without an answer may have been served: send only requests that may be served twice.
    """
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return _ask_once(f"{url}{path}", body)
        except urllib.error.HTTPError as error:
            with error:
                trouble = f"{error}: {error.read().decode(errors='replace')}"
            if error.code < 500:
                pytest.fail(f"Prefect's API refuses {path}: {trouble}")
        except (OSError, http.client.HTTPException) as error:
            trouble = repr(error)
        if time.monotonic() > deadline:
            pytest.fail(f"Prefect's API did not answer {path} for {TIMEOUT:.0f} s; at last: {trouble}")
        time.sleep(0.5)


def _ask_once(url: str, body: Mapping[str, Any] | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=ONE_REQUEST) as answer:
        return json.load(answer)
