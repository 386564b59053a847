"""Execute the notebooks of the documentation and store their results: ``make notebooks``.

Each notebook runs in a new folder. Metadata that depend on the machine are removed: versions and times of cells.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

DOCS = Path(__file__).resolve().parent.parent
CELL_TIMEOUT = 600
"""Timeout of a cell [s]."""
VARIES = "varies"
"""Tag of cells whose output differs between runs: times, pictures."""


def notebooks() -> list[Path]:
    """Return the notebooks of the documentation."""
    return sorted(DOCS.rglob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Read a notebook from its file."""
    return nbformat.read(path, as_version=4)


def execute(path: Path) -> NotebookNode:
    """Execute a notebook in an empty folder with the default settings; return it with its results.

    Raises CellExecutionError if a cell fails.
    """
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "PREFECT_"))}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    return cleaned(notebook)


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """Remove metadata that depend on the machine or the time from a notebook; return it."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
    return notebook


def texts(cell: NotebookNode) -> list[str]:
    """Return the text outputs of a cell."""
    found: list[str] = []
    for output in cell.get("outputs", []):
        data: dict[str, Any] = output.get("data", {"text/plain": output.get("text", "")})
        found += [str(value) for kind, value in sorted(data.items()) if kind.startswith("text/")]
    return found


def main() -> None:
    """Execute and write all notebooks, or those given on the command line."""
    for path in [Path(each).resolve() for each in sys.argv[1:]] or notebooks():
        nbformat.write(execute(path), path)
        sys.stdout.write(f"wrote {path.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
