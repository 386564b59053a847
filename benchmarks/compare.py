"""``make bench-compare REV=...``: run the same benchmarks on a revision and on the working tree.

``python -m benchmarks.compare REV [NAME ...] [--times 3] [--own-lock]``. The two run alternately, several times, in
this environment, so that other load on the machine affects both. A figure has changed if the ranges of its values do
not overlap. ``--own-lock`` installs the packages locked by the revision into a separate environment, for revisions
that do not run with the present packages.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
NAMES = ("import_time", "worker_speed", "expansion")

Figures = dict[str, list[float]]
"""Values of each figure, one per run."""


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Check a revision out into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", str(tree), revision], cwd=REPOSITORY, check=True
        )
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=REPOSITORY, check=True)


def own_python(tree: Path) -> str:
    """Install a tree with ``make setup``; return the path of its Python."""
    subprocess.run(["make", "setup", f"PYTHON={sys.executable}"], cwd=tree, check=True, stdout=sys.stderr)
    return str(tree / ".venv" / "bin" / "python")


def measure(tree: Path, names: Sequence[str], python: str = sys.executable) -> dict[str, float]:
    """Run the benchmarks of a tree; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
        done = subprocess.run(
            [python, "-m", "benchmarks", *names],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"the benchmarks of {tree} failed:\n{done.stderr}")
        saved = json.loads((Path(folder) / "eas-data" / "benchmarks.json").read_text())
    results = saved["results"] if isinstance(saved, dict) else saved  # older revisions write a list
    return {f"{each['name']} [{each['unit']}]": each["ours"] for each in results}


def verdict(before: Sequence[float], after: Sequence[float]) -> str:
    """Return the ratio of the medians as text (``1.52 times``), or that the ranges overlap."""
    ratio = statistics.median(after) / statistics.median(before) if statistics.median(before) else float("inf")
    apart = max(before) < min(after) or max(after) < min(before)
    return f"{ratio:.2f} times" if apart else f"ranges overlap ({ratio:.2f})"


def show(before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]], revision: str) -> None:
    """Print the figures of both sides with their ranges."""
    table = Table(title=f"{revision} and working tree: median (minimum to maximum)")
    for column in ("what", revision, "now", "change"):
        table.add_column(column)
    for name in [*before, *(each for each in after if each not in before)]:
        sides = [_shown(side.get(name, ())) for side in (before, after)]
        both = name in before and name in after
        table.add_row(name, *sides, verdict(before[name], after[name]) if both else "")
    Console(width=160).print(table)


def _shown(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    """Measure both sides and print the changes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision")
    parser.add_argument("names", nargs="*", default=list(NAMES))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--own-lock", action="store_true", help="install the packages that the revision locks")
    given = parser.parse_args()
    before: Figures = {}
    after: Figures = {}
    with tree_of(given.revision) as tree:
        python = own_python(tree) if given.own_lock else sys.executable
        for _ in range(given.times):
            for figures, place, runs_on in ((before, tree, python), (after, REPOSITORY, sys.executable)):
                for name, value in measure(place, given.names, runs_on).items():
                    figures.setdefault(name, []).append(value)
    show(before, after, given.revision)


if __name__ == "__main__":
    main()
