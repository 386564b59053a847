"""Parts of Markdown that the generated pages share."""

from __future__ import annotations

NOTE = "<!-- Written by `make reference`; change the code instead. -->"


def cell(text: str) -> str:
    """Return a text as it can stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
