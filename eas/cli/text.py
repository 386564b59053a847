"""Plain-text output of commands: aligned tables and lists, safe for terminals."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence

from eas.cli.output import echo
from eas.plain_text import fitting_columns, one_line, value_text

STATE_COLOURS = {"done": "green", "running": "cyan", "failed": "red", "stalled": "red", "blocked": "yellow"}
MAX_CELL_CHARS = 100
"""Maximum number of characters of a cell."""


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    empty: str,
    *,
    important: Sequence[str] = (),
    numbers: int = 0,
) -> None:
    """Print rows below a header, or ``empty`` if there are none; the last ``numbers`` columns are right-aligned.

    On a terminal, columns that do not fit are left out, ``important`` ones last, and a last line lists them.
    """
    lines = [[one_line(value_text(cell), MAX_CELL_CHARS) for cell in row] for row in rows]
    if not lines:
        echo(empty)
        return
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if room is not None:
        lines = [[one_line(cell, max(room, 2)) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    chosen = list(range(len(header)))
    if room is not None:
        chosen = fitting_columns([width + 2 for width in widths], room + 2, [header.index(name) for name in important])
    for line in [list(header), *lines]:
        cells = [
            line[place].rjust(widths[place]) if place >= len(header) - numbers else line[place].ljust(widths[place])
            for place in chosen
        ]
        echo("  ".join(cells).rstrip())
    if len(chosen) < len(header):
        left_out = ", ".join(name for place, name in enumerate(header) if place not in chosen)
        echo(f"(columns that do not fit: {left_out}; --json has all)")


def heading(text: str) -> None:
    """Print the heading of a section."""
    echo()
    echo(text, bold=True)


def pairs(values: Iterable[tuple[str, object]]) -> None:
    """Print aligned names and values; leave out empty values."""
    known = [(one_line(name), one_line(value_text(value), 400)) for name, value in values if value not in (None, "")]
    width = max((len(name) for name, _ in known), default=0)
    for name, text in known:
        echo(f"  {name.ljust(width)}  {text}")
