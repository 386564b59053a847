"""Check the length of functions and modules, which ruff does not measure: ``python -m tests.code_shape``.

Complexity and the number of parameters are ruff's (C901, PLR0913 in pyproject.toml).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_FUNCTION_LINES = 40
"""Lines of a function's body, its docstring left out."""
MAX_MODULE_LINES = 400
FOLDERS = ("eas", "flows", "blocks", "reports", "infra", "benchmarks", "demo_jobs", "docs")
EXEMPT = ("eas/taskdb/migrations/versions/",)
"""A migration is a list of tables, and is never edited once it is released."""


def modules() -> list[Path]:
    """Return the Python files of the repository, tests and migrations left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.split() if name.startswith(FOLDERS) and not name.startswith(EXEMPT)]
    return [ROOT / name for name in names if (ROOT / name).exists()]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from the first statement behind the docstring to the end."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def violations(path: Path) -> Iterator[str]:
    """Give each function and module that is too long, as ``file:line: what``."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    if (lines := len(text.splitlines())) > MAX_MODULE_LINES:
        yield f"{name}:1: {lines} lines (at most {MAX_MODULE_LINES})"
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (lines := body_lines(node)) > MAX_FUNCTION_LINES
        ):
            yield f"{name}:{node.lineno}: {node.name} has {lines} body lines (at most {MAX_FUNCTION_LINES})"


if __name__ == "__main__":
    paths = modules()
    found = [line for path in paths for line in violations(path)]
    print("\n".join(found) or f"{len(paths)} modules: no function or module is too long")
    sys.exit(bool(found))
