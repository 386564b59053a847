"""``make bench``: run all benchmarks, or the given ones; print a table and save the results as JSON.

``python -m benchmarks [NAME ...] [--page]``. ``--page`` also stores the results for the documentation and rewrites its
page Performance.
"""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

from benchmarks import ALL
from benchmarks.common import Result, save, show
from docs.generate import __main__ as reference
from docs.generate import figures
from infra.services.processes import ServiceError


def main() -> None:
    """Run benchmarks and print their results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(ALL))
    parser.add_argument("--page", action="store_true", help="update docs/explanation/performance.md")
    given = parser.parse_args()
    results: dict[str, list[Result]] = {}
    for name in given.names:
        print(f"{name} (load {os.getloadavg()[0]:.1f}) ...", flush=True)
        try:
            results[name] = importlib.import_module(f"benchmarks.{name}").run()
        except ServiceError as missing:
            print(f"skipping {name}: {missing}")
    show([each for figures in results.values() for each in figures])
    path = Path("eas-data") / "benchmarks.json"
    save(results, path)
    print(f"results as JSON: {path}")
    if given.page:
        figures.RESULTS.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        reference.main()


if __name__ == "__main__":
    main()
