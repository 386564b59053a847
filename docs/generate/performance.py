"""The list of benchmarks on the page about performance, from the first sentences of their modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.__main__ import ALL
from docs.generate.markdown import cell

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "performance.md"
BLOCK = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- end -->\n)", re.DOTALL)
HELPERS = {"common", "compare", "database_generator", "detailed_database", "peers", "queue_setup"}
"""Modules that other benchmarks use."""
NOT_SPEED = {"claims_exclusive", "science_recovery"}


def page() -> str:
    """Return the page, with its list of benchmarks made again."""
    lines = ["", "| module | measures | in `make bench` |", "|---|---|---|", *_rows(), "", ""]
    return BLOCK.sub(lambda found: found[1] + "\n".join(lines) + found[2], PAGE.read_text(encoding="utf-8"))


def _rows() -> Iterator[str]:
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        if path.stem.startswith("__") or path.stem in HELPERS | NOT_SPEED:
            continue
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = text.partition("\n\n")[0].replace("``", "`").rstrip(".")
        yield f"| `{path.stem}` | {cell(first)} | {'yes' if path.stem in ALL else 'no'} |"
