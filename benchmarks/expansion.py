"""Submission, expansion and planning of large chains, each in a new process to measure its peak memory."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import Result, null_chain, peak_memory, run_in_subprocess


def expand(count: int) -> dict[str, float]:
    """Submit and expand a chain of ``count`` empty tasks on SQLite; return seconds and peak memory [MB]."""
    from eas.app import App
    from eas.chains.grammar import parse_chain
    from eas.operations.job_options import SubmitOptions
    from eas.operations.submit import submit
    from eas.settings import Settings

    with tempfile.TemporaryDirectory() as folder, App(Settings(home=Path(folder))) as app:
        chain = parse_chain(json.dumps(null_chain(count)), "bench.json", app.registry)
        began = time.perf_counter()
        job = submit(app.database, app.registry, chain, SubmitOptions())
        orchestrator = app.orchestrator(job)
        orchestrator.open()
        while orchestrator.step():
            pass
        return {"seconds": time.perf_counter() - began, "memory": peak_memory()}


def plan() -> dict[str, float]:
    """Plan a chain of 128,000 tasks in five nested loops; return seconds and peak memory [MB]."""
    from eas import registry
    from eas.chains.grammar import parse_chain
    from eas.operations.plan import plan_chain

    loop: dict[str, Any] = {"task": "null", "duration": 0}
    for parameter, count in (("e", 10), ("d", 10), ("c", 8), ("b", 8), ("a", 9)):
        # 9 * 8 * 8 * 10 * 10 leaves; with the chains and loops above them 128,000 tasks.
        loop = {
            "task": "execution_for_loop",
            "parameter": parameter,
            "linear_range": [0, 1, count],
            "task_list": [loop],
        }
    known = registry.load()
    chain = parse_chain(json.dumps({"job_name": "p", "working_directory": "p", "task_list": [loop]}), "p.json", known)
    began = time.perf_counter()
    planned = plan_chain(chain, known)
    return {"seconds": time.perf_counter() - began, "memory": peak_memory(), "tasks": planned.total[0]}


def run() -> list[Result]:
    """Measure expansion at two sizes, and planning."""
    small, large = (run_in_subprocess("benchmarks.expansion", "expand", str(count)) for count in (2_000, 20_000))
    planned = run_in_subprocess("benchmarks.expansion", "plan")
    return [
        Result(
            "submit and expand 20,000 leaves, against ten times 2,000",
            large["seconds"], 10 * small["seconds"], "s", "about 1: linear; under 15 s",
        ),
        Result("memory of the process that expands them", large["memory"], None, "MB", "under 400"),
        Result(f"plan a chain of {planned['tasks']:,} tasks", planned["seconds"], None, "s", "under 10"),
        Result("memory of the process that plans", planned["memory"], None, "MB", "under 400"),
    ]  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(plan() if sys.argv[1] == "plan" else expand(int(sys.argv[2]))))
