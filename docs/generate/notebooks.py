"""Runs the notebooks of the documentation again and writes them with their results: ``make notebooks``.

Each runs in an empty folder of its own. What depends on the machine is left out: paths, versions, times of cells.
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
"""Longest time of a cell [s]."""
VARIES = "varies"
"""Tag of a cell whose output differs from run to run: times, pictures."""


def notebooks() -> list[Path]:
    """Return the notebooks of the documentation."""
    return sorted(DOCS.rglob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Return a notebook as it is stored."""
    return nbformat.read(path, as_version=4)


def execute(path: Path) -> NotebookNode:
    """Return a notebook with the results of its cells, run in an empty folder on the embedded default.

    Raises CellExecutionError where a cell fails.
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
    """Return a notebook without what depends on the machine or the moment."""
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
    """Return the texts among a cell's outputs, without pictures."""
    found: list[str] = []
    for output in cell.get("outputs", []):
        data: dict[str, Any] = output.get("data", {"text/plain": output.get("text", "")})
        found += [str(value) for kind, value in sorted(data.items()) if kind.startswith("text/")]
    return found


def main() -> None:
    """Run all notebooks, or those whose paths are given, and write them."""
    for path in [Path(each).resolve() for each in sys.argv[1:]] or notebooks():
        nbformat.write(execute(path), path)
        sys.stdout.write(f"wrote {path.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
