"""A Prefect server that is away is reported before anything is submitted; SIGTERM ends a run as Ctrl-C does."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from eas.app import App
from eas.cli.prefect_client import require_server
from eas.cli.run import run
from eas.errors import ServiceError
from eas.taskdb.queries import unfinished_jobs
from tests.processes import ROOT


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), _Health) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield
        http_server.shutdown()
        thread.join()


def test_a_server_that_answers_is_used_at_once() -> None:
    port = free_port()
    with server(port), temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        require_server(pytest.fail)


def test_a_server_that_starts_is_waited_for() -> None:
    port = free_port()
    ready = threading.Event()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        waited: list[str] = []

        def serve_once_waited_for() -> None:
            while not waited:
                time.sleep(0.01)
            with server(port):
                ready.wait(30)

        thread = threading.Thread(target=serve_once_waited_for)
        thread.start()
        require_server(waited.append, 30)
        ready.set()
        thread.join()
    assert waited == [f"waiting for the Prefect server http://127.0.0.1:{port}/api"]


def test_nothing_is_submitted_while_the_server_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    monkeypatch.setattr(require_server, "__defaults__", (0.0,))
    chain = tmp_path / "chain.json"
    chain.write_text('{"task_list": [{"task": "null"}]}')
    away = {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}
    with temporary_settings(away), pytest.raises(ServiceError, match="does not answer") as caught:
        run.main([str(chain)], standalone_mode=False)
    assert caught.value.exit_code == 3
    assert "nothing was submitted" in caught.value.hint
    with App.load() as app, app.database.read() as connection:
        assert not unfinished_jobs.unfinished(connection)


PROGRAM = """
import os, signal, sys, time
from contextlib import ExitStack
from eas.cli import main, cli
from eas.cli.interrupts import recorded_interrupts
import eas.cli, click
class TerminationSignal(BaseException): pass
def theirs(number, frame): raise TerminationSignal
@click.command()
def command():
    ignored = "ignored" in sys.argv
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    with recorded_interrupts():
        if "theirs" in sys.argv: signal.signal(signal.SIGTERM, theirs)
        try:
            print("ready", flush=True)
            # As libraries do while they are imported: collections.namedtuple, dataclasses.
            if "executing" in sys.argv: exec("time.sleep(60)")
            time.sleep(60)
        finally:
            print("closed", flush=True)
cli.add_command(command, "wait")
eas.cli.COMMANDS["wait"] = ("__main__:command", "")
main(["wait"])
"""


@pytest.mark.parametrize(
    ("number", "handler", "code"),
    [
        (signal.SIGTERM, "ours", 143),
        (signal.SIGTERM, "theirs", 143),
        (signal.SIGTERM, "ignored", 143),
        (signal.SIGINT, "ours", 130),
        (signal.SIGTERM, "executing", 143),
        (signal.SIGINT, "executing", 130),
    ],
)
def test_sigterm_closes_everything_as_ctrl_c_does(
    number: signal.Signals, handler: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    # With -m, as users may run eas: only then CPython looks for an interrupt in exec().
    process = subprocess.Popen(
        [sys.executable, "-m", "program", handler], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    shown, error = process.communicate(timeout=60)
    assert (shown, error.strip(), process.returncode) == ("closed\n", "stopped", code)
