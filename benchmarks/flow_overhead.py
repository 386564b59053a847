"""The flow ``run-chain`` compared to a plain Prefect flow, each with 1,000 empty tasks, on the same server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.common import Result, null_chain, run_in_subprocess

COUNT = 1_000


def plain() -> float:
    """Return the seconds that a plain asynchronous flow of empty tasks takes."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    @task(persist_result=False, cache_policy=NO_CACHE, task_run_name="{label}")
    async def empty(label: str) -> None:
        pass

    @flow(persist_result=False)
    async def plain_flow() -> None:
        await asyncio.gather(*(empty(f"empty {number}") for number in range(COUNT)))

    began = time.perf_counter()
    asyncio.run(plain_flow())
    return time.perf_counter() - began


def chain() -> float:
    """Return the seconds that ``run-chain`` takes for ``COUNT`` tasks, including the start of its local workers."""
    from eas.app import App
    from eas.chains.grammar import parse_chain
    from eas.operations.job_options import SubmitOptions
    from eas.operations.submit import submit
    from flows.run_chain import run_chain

    document = null_chain(COUNT) | {"task_list": [{"task": "null", "duration": 0}] * COUNT}
    with App.load() as app:
        job = submit(app.database, app.registry, parse_chain(json.dumps(document), "b.json"), SubmitOptions())
    began = time.perf_counter()

    async def run() -> Any:
        return await run_chain(job_id=job, workers=1, return_state=True)

    state = asyncio.run(run())
    assert state.is_completed(), state.message
    return time.perf_counter() - began


def _await_quiet(url: str) -> None:
    """Wait until the server has recorded all events, because pending events slow down the next run."""
    before = -1
    while (now := _completed(url)) != before:
        before = now
        time.sleep(3)


def _completed(url: str) -> int:
    body = json.dumps({"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}).encode()
    request = urllib.request.Request(f"{url}/task_runs/count", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(json.load(answer))


def run() -> list[Result]:
    """Measure both flows on one server, alternately, twice, each in a new process; return the shorter times."""
    from flows.local_server import LocalServer

    with tempfile.TemporaryDirectory() as folder, (server := LocalServer(Path(folder) / "prefect", idle=0)).used():
        url = server.wait().url
        os.environ["PREFECT_API_URL"] = url
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
        seconds: dict[str, list[float]] = {"plain": [], "chain": []}
        for turn in range(2):
            os.environ["EAS_HOME"] = f"{folder}/{turn}"
            for kind, found in seconds.items():
                found.append(run_in_subprocess("benchmarks.flow_overhead", kind)["seconds"])
                _await_quiet(url)
        del os.environ["PREFECT_API_URL"], os.environ["EAS_HOME"]
    ours, reference = min(seconds["chain"]), min(seconds["plain"])
    return [Result("run-chain of 1,000 empty tasks, against a plain flow", ours, reference, "s", "at most 1.5")]


if __name__ == "__main__":
    print(json.dumps({"seconds": plain() if sys.argv[1] == "plain" else chain()}))
