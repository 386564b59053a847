"""The flow ``work``: runs a worker in a flow run, so that work pools can start and limit workers.

The worker is a separate process, the same as ``eas worker``, because it forks, and a fork must not
contain Prefect's threads. Its log lines are forwarded to the log of the flow run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from eas.app import App
from flows.parameters import Blocks, described, fail_on_eas_error, open_app

TERMINATE_GRACE = 20.0
"""Grace period for the current task after SIGTERM [s]; then the task is queued again."""
LOG_LINE = re.compile(r"^\S+ \S+ worker \d+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)$")
MAX_OUTPUT_LINES = 20


@flow(name="work", flow_run_name="{worker_type}", persist_result=False)
@fail_on_eas_error
def work(
    worker_type: Annotated[str, described("Worker type; the worker runs its task types and those of eas-base.")],
    idle_exit: Annotated[float, described("Exit after this time without a task [s].", ge=0)] = 60.0,
    time_limit: Annotated[float | None, described("Stop claiming tasks after this time [s].", ge=0)] = None,
    blocks: Blocks = None,
) -> Any:
    """Run tasks from the job queue until there are none, or the time limit is reached.

    Cancelling the flow run stops the worker: tasks that it has not started are released at once; a
    task that does not finish within 20 s is queued again.
    """
    with open_app(blocks) as app:
        app.registry.task_types_of([worker_type])
        with _worker(app, worker_type, idle_exit, time_limit) as process:
            lines = _forward_log(process)
        return _state(process.wait(), lines)


@contextmanager
def _worker(app: App, worker_type: str, idle_exit: float, time_limit: float | None) -> Iterator[subprocess.Popen[str]]:
    """Start a worker that ends when this flow run ends, for any reason."""
    # -P: do not import from a folder called eas in the working directory.
    command = [sys.executable, "-P", "-m", "eas", "worker", "--type", worker_type]
    command += ["--idle-exit", f"{idle_exit:g}", "--with-parent", str(os.getpid())]
    if time_limit is not None:
        command += ["--time-limit", f"{time_limit:g}"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Passed in the environment: URLs may contain passwords, and every user can read command lines.
        env=dict(os.environ) | app.settings.environment() | {"PYTHONUNBUFFERED": "1"},
        text=True,
        errors="backslashreplace",
        # A new session: signals to this process group must not reach the worker, which receives its own SIGTERM.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(TERMINATE_GRACE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _forward_log(process: subprocess.Popen[str]) -> list[str]:
    """Forward the worker's log until it ends; return its last lines."""
    log = get_run_logger()
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=MAX_OUTPUT_LINES)
    for line in process.stdout:
        text = line.rstrip("\n")
        found = LOG_LINE.match(text)
        level, message = (getattr(logging, found[1]), found[2]) if found else (logging.INFO, text)
        log.log(level, message)
        last.append(message)
    return list(last)


def _state(code: int, lines: list[str]) -> State[Any]:
    said = lines[-1] if lines else "it wrote nothing"
    if code == 0:
        return Completed(message=said)
    how = f"was killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"
    return Failed(message=f"the worker {how}; its last line: {said}")
