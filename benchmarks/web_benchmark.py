"""Measure the pages of `eas web` and `eas show` on a task database of 10^6 tasks with four loop parameters.

    python benchmarks/web_benchmark.py [--tasks 1000000] [--url sqlite:////path | mysql+pymysql://...] [--rounds 15]

A server process handles one request after the other, then ten at a time; ids and offsets differ between the requests
of a page. The memory is the increase of the server's memory after each page was requested once.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import psutil
from pydantic import SecretStr

MAX_MEDIAN, MAX_TIME, MAX_MEMORY_INCREASE = 0.2, 1.0, 50.0
"""Limits: median and maximum time of each page [s], and increase of memory with ten open pages [MB]."""

CONCURRENT_REQUESTS = 10
"""Number of concurrent requests."""

Address = Callable[[random.Random, int], str]

PAGES: dict[str, Address] = {
    "jobs": lambda r, n: "/jobs",
    "job": lambda r, n: f"/jobs/{r.randint(1, 4)}",
    "one level of the tree": lambda r, n: f"/tasks/{2 + r.randint(0, 100)}/children",
    "errors of a job": lambda r, n: f"/jobs/{r.randint(1, 4)}/errors",
    "timeline": lambda r, n: f"/jobs/{r.randint(1, 4)}/timeline",
    "tasks": lambda r, n: "/tasks",
    "tasks of a job": lambda r, n: f"/tasks?job={r.randint(1, 4)}&after={r.randint(1, n)}",
    "tasks, newest first": lambda r, n: f"/tasks?job={r.randint(1, 4)}&order=newest",
    "failed tasks": lambda r, n: f"/tasks?job={r.randint(1, 4)}&state=failed",
    "failed tasks, last ended first": lambda r, n: f"/tasks?job={r.randint(1, 4)}&state=failed&order=ended",
    "tasks of a type, longest first": lambda r, n: f"/tasks?job={r.randint(1, 4)}&type=verify&order=duration",
    "tasks by one loop": lambda r, n: f"/tasks?job=1&loop.size=0.02&loop.noise=0.026&type=verify&x={r.random()}",
    "tasks by four loops": lambda r, n: "/tasks?job=2&loop.size=0.026&loop.orbital_period=0.02"
                                        "&loop.noise=0.026&loop.realisation=0.0338",
    "tasks by innermost loop": lambda r, n: f"/tasks?job={r.randint(1, 4)}&loop.realisation=0.0338&type=verify",
    "tasks by outcome": lambda r, n: f"/tasks?job={r.randint(1, 4)}&outcome=PASS",
    "tasks by text": lambda r, n: f"/tasks?job={r.randint(1, 4)}&text=valueerror",
    "tasks by text that is not there": lambda r, n: f"/tasks?job={r.randint(1, 4)}&text=zzz",
    "tasks of a worker": lambda r, n: f"/tasks?worker=worker-{r.randint(0, 7)}",
    "task": lambda r, n: f"/tasks/{r.randint(1, n)}",
    "files": lambda r, n: "/files",
    "files of a job": lambda r, n: f"/files?job={r.randint(1, 4)}",
    "file": lambda r, n: f"/files/{r.randint(1, n // 5)}",
    "log": lambda r, n: "/logs",
    "errors": lambda r, n: "/logs?level=error",
    "log of a job": lambda r, n: f"/logs?job={r.randint(1, 4)}&level=info",
    "workers": lambda r, n: "/workers",
    "queues": lambda r, n: "/queues",
    "timings": lambda r, n: "/timings",
    "timings of a job": lambda r, n: f"/timings?job={r.randint(1, 4)}",
    "pass/fail": lambda r, n: f"/pass-fail?job={r.randint(1, 4)}",
}  # fmt: skip


@contextmanager
def served(url: str, home: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """Run `eas web` on a task database; yield a client and the process."""
    environment = os.environ | {"EAS_DATABASE_URL": url, "EAS_HOME": str(home)}
    command = [sys.executable, "-m", "eas", "web", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http"))
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield client, psutil.Process(process.pid)
        process.terminate()


def timed(client: httpx.Client, address: str) -> float:
    """Return the response time of a page [s]."""
    began = time.perf_counter()
    answer = client.get(address)
    took = time.perf_counter() - began
    assert answer.status_code in (200, 404), (address, answer.status_code, answer.text[-300:])
    return took


def measure(client: httpx.Client, process: psutil.Process, tasks: int, rounds: int) -> bool:
    """Print median and maximum time of every page, and the memory; return whether they are within the limits.

    The CPU time of a page includes background counts; it depends little on other processes.
    """
    chance, kept = random.Random(1), True
    print(f"{'page':<34} {'first [ms]':>10} {'median [ms]':>11} {'worst [ms]':>10} {'CPU [ms]':>8} {'size [kB]':>9}")
    for name, address in PAGES.items():
        used = process.cpu_times()
        first = timed(client, address(chance, tasks))
        times = [timed(client, address(chance, tasks)) for _ in range(rounds)]
        ended = process.cpu_times()
        cpu = (ended.user + ended.system - used.user - used.system) / (rounds + 1)
        size = len(client.get(address(chance, tasks)).content) / 1000
        median, worst = statistics.median(times), max(first, *times)
        good = median <= MAX_MEDIAN and worst <= MAX_TIME
        kept = kept and good
        marks = f"{1000 * first:10.0f} {1000 * median:11.0f} {1000 * worst:10.0f} {1000 * cpu:8.0f} {size:9.0f}"
        print(f"{name:<34} {marks}{'' if good else '  too slow'}")
    before = process.memory_info().rss / 1e6
    peak = before
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        for _ in range(5):
            list(
                pool.map(
                    lambda make: timed(client, make(random.Random(), tasks)), list(PAGES.values())[:CONCURRENT_REQUESTS]
                )
            )
            peak = max(peak, process.memory_info().rss / 1e6)
    print(
        f"memory: {before:.0f} MB, with {CONCURRENT_REQUESTS} pages open {peak - before:+.0f} MB "
        f"(limit: {MAX_MEMORY_INCREASE:.0f})"
    )
    return kept and peak - before <= MAX_MEMORY_INCREASE


def refreshing(client: httpx.Client, process: psutil.Process, seconds: float = 30.0) -> None:
    """Print the CPU usage of the server while pages refresh themselves every 5 s."""
    for names in (("job",), ("jobs", "job", "tasks", "task", "workers")):
        before, began = process.cpu_times(), time.monotonic()
        while time.monotonic() - began < seconds:
            for name in names:
                timed(client, PAGES[name](random.Random(3), 4))
            time.sleep(5)
        after, took = process.cpu_times(), time.monotonic() - began
        used = after.user + after.system - before.user - before.system
        print(f"{len(names)} pages that refresh every 5 s: {100 * used / took:.1f} % of one processor")


def measure_worker_slowdown(client: httpx.Client, url: str, home: Path, rounds: int = 8, count: int = 8000) -> None:
    """Print the slowdown of a worker while five pages of the same database refresh themselves every 5 s.

    Runs with and without pages alternate; the result is the median of the ratios of neighbouring runs, because the
    machine is noisy.
    """
    from benchmarks.worker_speed import ours
    from eas.settings import Settings

    logging.disable(logging.WARNING)  # the generated products have no files
    settings = Settings(home=home, database_url=SecretStr(url))
    ratios: list[float] = []
    speeds: list[float] = []
    for number in range(rounds):
        pair: dict[bool, float] = {}
        for watched in (number % 2 == 0, number % 2 == 1):
            with refreshing_pages(client) if watched else nullcontext():
                pair[watched] = ours(settings, count)
        speeds.append(pair[False])
        ratios.append(pair[True] / pair[False])
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"empty tasks through one worker on this database: {statistics.median(speeds):.0f}/s; beside five pages that "
          f"refresh every 5 s: {middle:.3f} of it ({low:.3f} to {high:.3f}, {rounds} pairs; wanted: 0.98)")  # fmt: skip


@contextmanager
def refreshing_pages(client: httpx.Client) -> Iterator[None]:
    """Request five pages every 5 s until the block ends."""
    over = threading.Event()

    def refresh() -> None:
        while True:
            for name in ("jobs", "job", "tasks", "task", "workers"):
                timed(client, PAGES[name](random.Random(3), 4))
            if over.wait(5.0):
                return

    thread = threading.Thread(target=refresh)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def show(url: str, home: Path, tasks: int, rounds: int) -> bool:
    """Print the time of `eas show`: of the whole command, and without the start of the command."""
    environment = os.environ | {"EAS_DATABASE_URL": url, "EAS_HOME": str(home)}
    chance = random.Random(2)

    def command(*arguments: str) -> tuple[float, float]:
        """Return the wall-clock and the CPU time of a command [s]."""
        before, began = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "eas", *arguments], env=environment, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)  # fmt: skip
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return time.perf_counter() - began, used

    whole = [command("show", str(chance.randint(1, tasks))) for _ in range(rounds)]
    start = [command("show", "--help") for _ in range(rounds)]
    wall, cpu = (statistics.median(each) for each in zip(*whole, strict=True))
    extra = cpu - statistics.median(used for _, used in start)
    worst = max(took for took, _ in whole)
    print(f"eas show: {1000 * wall:.0f} ms at the median, {1000 * worst:.0f} ms at worst; CPU {1000 * cpu:.0f} ms, "
          f"{1000 * extra:+.0f} ms of it beyond the start of the command")  # fmt: skip
    return extra <= MAX_MEDIAN and worst <= MAX_TIME


def prepare(url: str, tasks: int) -> None:
    """Fill the task database at ``url`` unless it already has the tasks."""
    from sqlalchemy import func, select

    from benchmarks.detailed_database import fill
    from eas import registry
    from eas.taskdb import tables
    from eas.taskdb.engine import TaskDatabase
    from eas.taskdb.migrate import initialise

    database = TaskDatabase(url)
    database.create()
    initialise(database, registry.load())
    there = database.fetch(lambda c: c.execute(select(func.max(tables.tasks.c.id))).scalar()) or 0
    if there < tasks // 2:
        fill(database, tasks)
    database.close()


def main() -> None:
    """Measure pages and `eas show`; exit with 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--url", help="Task database; filled if it is empty. Default: sqlite in a temporary folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.url or f"sqlite:///{folder}/eas.sqlite"
        prepare(url, arguments.tasks)
        with served(url, Path(folder)) as (client, process):
            kept = measure(client, process, arguments.tasks, arguments.rounds)
            refreshing(client, process)
            measure_worker_slowdown(client, url, Path(folder))
        kept = show(url, Path(folder), arguments.tasks, arguments.rounds) and kept
    if not kept:
        sys.exit(1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
