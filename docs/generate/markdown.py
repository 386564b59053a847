"""Markdown helpers of the generated pages."""

from __future__ import annotations

NOTE = "<!-- Written by `make reference`; change the code instead. -->"


def cell(text: str) -> str:
    """Return a text escaped for a table cell."""
    return " ".join(text.split()).replace("|", "\\|")
