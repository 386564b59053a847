"""Tables for terminals and for programs: rich on a terminal, plain text elsewhere, records for JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eas.plain_text import fitting_columns, one_line, visible
from reports.columns import base_name

STATE_STYLES = {
    "waiting": "",
    "queued": "",
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "stalled": "red",
    "blocked": "yellow",
    "cancelled": "yellow",
}
MAX_COLUMN_WIDTH = 36
"""Maximum width of a text column on a terminal; longer texts are wrapped."""

COLUMN_PRECEDENCE = (
    "task_type", "outcome", "last_line", "worker", "state", "job_id", "done", "failed", "count", "queued", "running",
    "wall_clock_median", "total", "attempts", "workers_alive", "percent_done", "task_id", "period", "host",
)  # fmt: skip
"""Columns with precedence on a narrow terminal, the most important first; without their units."""
MAX_PLAIN_CELL = 200
"""Maximum number of characters of a cell outside a terminal."""


def cell(value: Any) -> str:
    """Format a value: four significant digits, an empty text for unknown."""
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return ""
        number = float(value)
        return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"
    return str(value)


def show(frame: pd.DataFrame, console: Console, *, title: str = "", empty: str = "nothing to show") -> None:
    """Print a table: drawn by rich on a terminal, aligned plain text with a header elsewhere."""
    if frame.empty:
        console.print(empty, highlight=False, soft_wrap=True)
    elif console.is_terminal:
        console.print(rich_table(frame, title, console.width))
    else:
        for line in plain_lines(frame):
            console.out(line, highlight=False)


def rich_table(frame: pd.DataFrame, title: str, width: int) -> Table:
    """Return a table for a terminal of ``width`` characters.

    States without tasks have no column. Columns that do not fit are omitted, `COLUMN_PRECEDENCE` ones last; the
    caption gives their number. Long texts are wrapped.
    """
    empty = [name for name in frame.columns if name in STATE_STYLES and not frame[name].any()]
    whole = frame.drop(columns=empty)
    columns = {str(name): [cell(value) for value in whole.iloc[:, place].tolist()]
               for place, name in enumerate(whole.columns)}  # fmt: skip
    shown = _fitting(columns, width)
    left_out = len(columns) - len(shown)
    caption = f"columns omitted: {left_out} (see --csv FILE or --json)" if left_out else None
    heading = Text(one_line(title), "table.title") if title else None
    table = Table(title=heading, title_justify="left", caption=caption, caption_justify="left",
                  box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    for name in shown:
        folds = _min_width(name, columns[name]) > MAX_COLUMN_WIDTH
        table.add_column(
            Text(visible(_needs_wrapping(name, _min_width(name, columns[name])))),
            justify="right" if _is_numeric(whole[name]) else "left",
            style=STATE_STYLES.get(name, ""),
            overflow="fold",
            no_wrap=not folds,
            min_width=MAX_COLUMN_WIDTH // 2 if folds else _min_width(name, columns[name]),
        )
    for row in zip(*(columns[name] for name in shown), strict=True):
        words = (
            Text("" if text == "0" and name in STATE_STYLES else one_line(text))
            for text, name in zip(row, shown, strict=True)
        )
        table.add_row(*words)
    return table


def _min_width(name: str, cells: Sequence[str]) -> int:
    """Return the preferred width of a column; its header may be wrapped between words."""
    return max(map(len, [*name.replace("_", " ").split(), *cells]), default=0)


def _needs_wrapping(name: str, width: int) -> str:
    """Return a column's name in lines of at most ``width``, broken between words."""
    return "\n".join(textwrap.wrap(name.replace("_", " "), max(1, width), break_long_words=False))


def _fitting(columns: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """Return the columns that fit; long texts count with their folded width."""
    names = list(columns)
    rooms = [_min_width(name, columns[name]) for name in names]
    important = _by_importance([base_name(name) for name in names])
    chosen = fitting_columns(
        [3 + (room if room <= MAX_COLUMN_WIDTH else MAX_COLUMN_WIDTH // 2) for room in rooms], width + 1, important
    )
    return [names[place] for place in chosen]


def _by_importance(names: Sequence[str]) -> list[int]:
    """Return the places of the important columns; the loop parameters of an outcome come after it."""
    found = [names.index(name) for name in COLUMN_PRECEDENCE if name in names]
    if "outcome" in names and "attempt_id" in names:
        after = found.index(names.index("outcome")) + 1
        found[after:after] = range(names.index("attempt_id") + 1, names.index("outcome"))
    return list(dict.fromkeys(found))


def _is_numeric(column: pd.Series[Any]) -> bool:
    return column.dtype.kind in "iuf" or all(value is None or type(value) in (int, float) for value in column.tolist())


def plain_lines(frame: pd.DataFrame) -> Iterator[str]:
    """Yield a table's lines: columns aligned, separated by two blanks, one line per row."""
    columns = [
        [str(name), *(_one_line(cell(value)) for value in frame.iloc[:, place].tolist())]
        for place, name in enumerate(frame.columns)
    ]
    widths = [max(map(len, column)) for column in columns]
    right = [_is_numeric(frame.iloc[:, place]) for place in range(frame.shape[1])]
    for row in zip(*columns, strict=True):
        words = (
            word.rjust(width) if turned else word.ljust(width)
            for word, width, turned in zip(row, widths, right, strict=True)
        )
        yield "  ".join(words).rstrip()


def _one_line(text: str) -> str:
    text = one_line(" ".join(text.split()))
    return text if len(text) <= MAX_PLAIN_CELL else text[: MAX_PLAIN_CELL - 3] + "..."


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield rows as plain data, keyed by column names without units; None for unknown values."""
    keys = _keys([str(name) for name in frame.columns])
    columns = [[_json_value(value) for value in frame.iloc[:, place].tolist()] for place in range(frame.shape[1])]
    for row in zip(*columns, strict=True):
        yield dict(zip(keys, row, strict=True))


def _keys(names: Sequence[str]) -> list[str]:
    short = [base_name(name) for name in names]
    return [name if short.count(name) == 1 else full for name, full in zip(short, names, strict=True)]


def _json_value(value: Any) -> Any:
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def write_json_list(frames: Iterable[pd.DataFrame], stream: IO[str]) -> None:
    """Stream the rows of parts of a table as one JSON list, one row per line."""
    # If the locale cannot encode a character, use JSON's own escape sequences.
    ascii_only = (getattr(stream, "encoding", None) or "utf-8").lower() != "utf-8"
    stream.write("[")
    before = "\n"
    for frame in frames:
        for record in records(frame):
            stream.write(f"{before}  {json.dumps(record, ensure_ascii=ascii_only)}")
            before = ",\n"
    stream.write("\n]" if before != "\n" else "]")


def show_errors(newest: pd.DataFrame, groups: pd.DataFrame, console: Console) -> None:
    """Print errors in full, and below them the groups."""
    for row in newest.itertuples(index=False):
        time, job_id, job_name, task_type, task_id, attempt, number, host, *_, message, traceback = row
        tried = f", attempt {attempt} (try {number}) on {host or 'an unknown host'}" if attempt else ""
        head = f"{time}  job {job_id} ({job_name}), {task_type or '?'}, task {task_id}{tried}"
        console.print(Text(one_line(head), "bold"), soft_wrap=True)
        for text in filter(None, (message, traceback)):
            # Indented, so that no line of a message looks like the head of another error.
            console.print(Text(textwrap.indent(visible(text.rstrip()), "  "), "red"), soft_wrap=True)
    if int(groups["count"].sum()) > len(newest):
        console.print(f"these are the newest {len(newest)}; all of them: --csv FILE", highlight=False, soft_wrap=True)
    show(groups, console, title="by last line", empty="no errors")
