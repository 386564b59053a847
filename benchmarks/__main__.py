"""``make bench``: run all benchmarks, or those that are named; print a table, and save JSON."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.common import Result, save, show

ALL = ("import_time", "start_up", "hop_latency", "worker_speed", "expansion", "flow_overhead")


def main(names: list[str]) -> None:
    """Run benchmarks and print their results."""
    results: list[Result] = []
    for name in names or ALL:
        print(f"{name} ...", flush=True)
        results += importlib.import_module(f"benchmarks.{name}").run()
    show(results)
    path = Path("eas-data") / "benchmarks.json"
    save(results, path)
    print(f"as JSON: {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
