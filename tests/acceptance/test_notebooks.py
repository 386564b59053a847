"""The notebooks of the documentation run from scratch, and their stored results are those of today's code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nbformat import NotebookNode

from docs.generate import notebooks
from tests.processes import MAX_TIMEOUT, ROOT

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)
FILES = notebooks.notebooks()
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
MACHINE = re.compile(r"/(?:tmp|home|root|usr|var|opt|Users)/|127\.0\.0\.1|localhost|https?://[^ )]*:\d")
"""Paths and addresses of one machine."""


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert NAMES == ["docs/tutorial/detection_limit.ipynb", "docs/tutorial/first_chain_in_python.ipynb"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_notebook_runs_and_gives_the_stored_results(path: Path) -> None:
    stored, found = code_cells(notebooks.read(path)), code_cells(notebooks.execute(path))
    for before, after in zip(stored, found, strict=True):
        kinds = [sorted(each.get("data", ["stream"])) for each in after.outputs]
        assert kinds == [sorted(each.get("data", ["stream"])) for each in before.outputs], after.source
        assert not [each.text for each in after.outputs if each.get("name") == "stderr"], after.source
        if notebooks.VARIES not in after.metadata.get("tags", []):
            assert shown(after) == shown(before), f"{after.source}\n\nwrite it again: make notebooks"


def shown(cell: NotebookNode) -> list[str]:
    """Return what a notebook shows of a cell: HTML where there is any, else text."""
    texts = [
        each.data.get("text/html") or each.data.get("text/plain", "") if "data" in each else each.text
        for each in cell.outputs
    ]
    return [" ".join(text.split()) for text in texts]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_notebook_is_stored_with_results_and_without_a_trace_of_the_machine(path: Path) -> None:
    notebook = notebooks.read(path)
    cells = code_cells(notebook)
    assert notebook == notebooks.cleaned(notebooks.read(path)), "write it again: make notebooks"
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    texts = [text for cell in notebook.cells for text in (cell.source, *notebooks.texts(cell))]
    assert [found for text in texts for found in MACHINE.findall(text)] == []
