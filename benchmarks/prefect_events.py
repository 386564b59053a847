"""Cost of a task run for the Prefect server: CPU time, rate, and response time of its API under load.

    python -m benchmarks.prefect_events --task-runs 2000 [--database-url postgresql+asyncpg://...] [--apart]

Starts a temporary server, sends three state changes (pending, running, completed) of each task run in the way of
`run-chain`, and prints JSON. ``--apart`` runs API and background services in separate processes, without Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

TIMEOUT = 90.0
"""Time without a newly recorded state change after which the measurement ends [s]."""


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def servers(home: Path, database_url: str, *, apart: bool) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Start a server, or its API and its services separately; yield the URL of the API and the processes."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "PREFECT_"))}
    environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    environment |= {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url} if database_url else {}
    prefect = [sys.executable, "-m", "prefect", "server"]
    api = [*prefect, "start", "--host", "127.0.0.1", "--port", str(port), *(["--no-services"] if apart else [])]
    started = []
    with (home / "server.log").open("ab") as log:
        try:
            started.append(subprocess.Popen(api, env=environment, stdout=log, stderr=log))
            url = f"http://127.0.0.1:{port}/api"
            while latency(url, 30.0) is None:
                if started[0].poll() is not None:
                    raise RuntimeError((home / "server.log").read_text())
                time.sleep(0.5)
            if apart:
                services = [*prefect, "services", "start"]
                started.append(subprocess.Popen(services, env=environment, stdout=log, stderr=log))
                time.sleep(15.0)  # Prefect does not report that its services are ready
            yield url, [psutil.Process(each.pid) for each in started]
        finally:
            for each in started:
                each.terminate()
            for each in started:
                each.wait(30)


def latency(url: str, timeout: float) -> float | None:
    """Return the response time of the health check [s]; None if it does not respond."""
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=timeout):
            return time.perf_counter() - began
    except (OSError, urllib.error.URLError):
        return None


def cpu(processes: list[psutil.Process]) -> float:
    """Return the CPU time used by the processes [s]."""
    return float(sum(sum(each.cpu_times()[:2]) for each in processes))


class HealthPoller(threading.Thread):
    """Measure the response time of the server's health check every half second."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.over, self.found = url, threading.Event(), [0.0]

    def run(self) -> None:
        """Measure until ``over`` is set."""
        while not self.over.wait(0.5):
            self.found.append(latency(self.url, 120.0) or 120.0)


async def send(count: int, pace: float) -> dict[str, float]:
    """Send the events of ``count`` task runs, ``pace`` task runs per second (0: as fast as possible)."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.worker import EventsWorker

    from flows.task_run_events import Change, RecordedTaskRun, TaskRunSender, _recorded_changes, start, times

    sender, began = TaskRunSender(), time.perf_counter()
    for number in range(count):
        at = time.time()
        run = RecordedTaskRun("null", f"null (task {number})", str(number), [], at)
        sender.put(run, Change(StateType.PENDING, "Pending", at))
        sender.put(run, Change(StateType.RUNNING, "Running", at + 0.001, columns=start(at, 1)))
        sender.put(run, Change(StateType.COMPLETED, "Completed", at + 0.002, columns=times(at, at + 0.002)))
        if pace:
            await asyncio.sleep(max(0.0, began + number / pace - time.perf_counter()))
    await sender.close()
    await asyncio.to_thread(EventsWorker.drain_all, 60)
    sent = time.perf_counter() - began
    heard, recorded = time.perf_counter(), 0
    while recorded < 2 * count and time.perf_counter() - heard < TIMEOUT:
        before, recorded = recorded, await _recorded_changes(recorded)
        heard = time.perf_counter() if recorded > before else heard
        await asyncio.sleep(0.5)
    return {"sent [s]": sent, "recorded [s]": time.perf_counter() - began, "changes recorded": recorded}


def measure(count: int, database_url: str, pace: float, *, apart: bool) -> dict[str, Any]:
    """Send ``count`` task runs to a temporary server; return the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with servers(home, database_url, apart=apart) as (url, processes):
            os.environ |= {"PREFECT_API_URL": url, "PREFECT_HOME": str(home / "client")}
            os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
            from prefect import flow

            @flow(persist_result=False)
            async def sending() -> dict[str, float]:
                return await send(count, pace)

            before, listener = cpu(processes), HealthPoller(url)
            listener.start()
            found = asyncio.run(sending())
            used = cpu(processes) - before
            time.sleep(5.0)
            listener.over.set()
            listener.join(130)
            worst, middle = max(listener.found), statistics.median(listener.found)
            return {
                "task runs": count, "apart": apart, "database": database_url.partition(":")[0] or "sqlite",
                "CPU per event [ms]": used / (3 * count) * 1000, "CPU [s]": used,
                "slowest answer [s]": worst, "median answer [s]": middle,
            } | found  # fmt: skip


def main() -> int:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task-runs", type=int, default=2000)
    parser.add_argument("--database-url", default="")
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--apart", action="store_true")
    given = parser.parse_args()
    print(json.dumps(measure(given.task_runs, given.database_url, given.pace, apart=given.apart)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
