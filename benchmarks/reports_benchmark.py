"""Measure time and memory of reports on generated task databases, and whether the time is linear in rows.

    python benchmarks/reports_benchmark.py [--attempts 1000000] [--folder DIR]

Each report runs in a new process, on a tenth of the rows and on all rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIME_LIMITS = {"timings": 30.0, "progress": 3.0, "tree": 3.0}
"""Limits on the time of reports on a million attempts [s]."""
TIMINGS_MEMORY_LIMIT = 1000
"""Limit on the peak memory of the report timings [MB]."""


def run(report: str, path: Path) -> None:
    """Make one report; print its wall-clock time [s], CPU time [s] and peak memory [MB]."""
    from benchmarks.common import peak_memory
    from eas.taskdb.engine import TaskDatabase
    from eas.taskdb.queries.reports import Filters, snapshot
    from reports import assemble
    from reports.tree import tree_lines

    database, filters = TaskDatabase(f"sqlite:///{path}"), Filters()
    began, used = time.perf_counter(), time.process_time()
    with snapshot(database) as connection:
        if report == "timings":
            assemble.write_timings(connection, filters, path.with_suffix(".csv"))
        elif report == "progress":
            assemble.progress(connection, filters, time.time())
        elif report == "tree":
            list(tree_lines(assemble.job_tree(connection, filters, 5)))
        elif report == "pass-fail":
            for _ in assemble.pass_fail(connection, filters):
                pass
        else:
            assemble.write_errors(connection, filters, None)
    print(f"{time.perf_counter() - began:.3f} {time.process_time() - used:.3f} {peak_memory():.0f}")


def measure(report: str, path: Path) -> tuple[float, float, float]:
    """Make one report in a new process; return its wall-clock time [s], CPU time [s] and peak memory [MB]."""
    command = [sys.executable, __file__, "--report", report, "--database", str(path)]
    wall, cpu, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(wall), float(cpu), float(peak)


def main() -> None:
    """Make one report, or measure all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="Folder of the databases; existing ones are reused.")
    parser.add_argument("--report", help=argparse.SUPPRESS)
    parser.add_argument("--database", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.report:
        run(arguments.report, arguments.database)
        return
    with tempfile.TemporaryDirectory() as temporary:
        compare(arguments.folder or Path(temporary), arguments.attempts)


def compare(folder: Path, attempts: int) -> None:
    """Print a table of all reports on both databases; exit with 1 if a limit is exceeded."""
    from benchmarks.database_generator import generate

    paths = [folder / f"reports_{count}.sqlite" for count in (attempts // 10, attempts)]
    for path, count in zip(paths, (attempts // 10, attempts), strict=True):
        if not path.exists():
            generate(path, count).close()
    print(f"{'report':<10} {'wall [s]':>9} {'CPU [s]':>9} {'peak [MB]':>9} {'ratio to a tenth of the rows':>30}")
    kept = True
    for report in ("progress", "timings", "tree", "pass-fail", "errors"):
        small, large = (measure(report, path) for path in paths)
        print(f"{report:<10} {large[0]:9.2f} {large[1]:9.2f} {large[2]:9.0f} {large[1] / small[1]:30.1f}")
        kept = (
            kept
            and large[0] <= TIME_LIMITS.get(report, 1e9)
            and (report != "timings" or large[2] <= TIMINGS_MEMORY_LIMIT)
        )
    if not kept:
        sys.exit(1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
