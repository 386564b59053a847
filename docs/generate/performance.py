"""Generate the list of benchmarks, from their docstrings, and their results on the page Performance."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks import ALL
from docs.generate import figures
from docs.generate.markdown import cell

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "performance.md"
BLOCK = r"(<!-- {} -->\n).*?(<!-- end -->\n)"
HELPERS = {"common", "compare", "database_generator", "detailed_database", "peers", "queue_setup"}
"""Modules that are not benchmarks themselves."""
NOT_SPEED = {"claims_exclusive", "science_recovery"}


def page() -> str:
    """Return the page with updated list and results of benchmarks."""
    lines = ["", "| module | measures | in `make bench` |", "|---|---|---|", *_rows(), "", ""]
    text = _replaced(PAGE.read_text(encoding="utf-8"), "benchmarks", "\n".join(lines))
    return _replaced(text, "figures", f"\n{figures.tables()}\n")


def _replaced(text: str, block: str, new: str) -> str:
    return re.sub(BLOCK.format(block), lambda found: found[1] + new + found[2], text, flags=re.DOTALL)


def _rows() -> Iterator[str]:
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        if path.stem.startswith("__") or path.stem in HELPERS | NOT_SPEED:
            continue
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = text.partition("\n\n")[0].replace("``", "`").rstrip(".")
        yield f"| `{path.stem}` | {cell(first)} | {'yes' if path.stem in ALL else 'no'} |"
