"""HTML tables for notebooks, with all texts escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from eas.plain_text import one_line

MAX_CELL_CHARS = 400
"""Characters of a cell that are shown."""


def table(title: str, header: Sequence[object], rows: Iterable[Sequence[object]], notes: Sequence[str] = ()) -> str:
    """Return a table below a title, if it has one, and above a list of notes."""
    head = f"<p><b>{cell(title)}</b></p>" if title else ""
    items = "".join(f"<li>{cell(each)}</li>" for each in notes)
    body = "".join(_row(each, "td") for each in rows)
    return f"{head}<table>{_row(header, 'th')}{body}</table>{f'<ul>{items}</ul>' if items else ''}"


def cell(value: object) -> str:
    """Return a value on one line, escaped, and cut where it is long."""
    return escape(one_line(str(value), MAX_CELL_CHARS))


def _row(cells: Sequence[object], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell(each)}</{tag}>' for each in cells)}</tr>"
