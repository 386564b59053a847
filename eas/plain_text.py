"""Makes texts of users safe to display in terminals, logs and pages, and formats values for display."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime

# Control characters except tab and newline; bidirectional and invisible characters; noncharacters.
# Terminal escape sequences begin with one of these.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$:-])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
FORMULA_CHARACTERS = "=+-@\t\r"
"""First characters by which spreadsheets recognise a formula."""
FORMULA_PREFIX = "'"
"""Prefix for such texts, and for texts that begin with it; not for numbers."""
ESCAPED_PREFIXES = (*FORMULA_CHARACTERS, FORMULA_PREFIX)
FORMULA_PREFIX_VARIABLE = "EAS_CSV_FORMULA_PREFIX"
"""Environment variable that switches the prefix off."""
_FALSE_VALUES = ("false", "no", "off", "0")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_UNITS = ("B", "kB", "MB", "GB", "TB")


def visible(text: str) -> str:
    r"""Return ``text`` with invisible and control characters escaped, such as ``\x1b`` or ``\u202e``."""
    return _UNSAFE.sub(_escaped, text)


def one_line(text: str, longest: int = 0) -> str:
    """Return ``text`` on one line, cut to ``longest`` characters (0: all)."""
    line = " ".join(visible(text).split())
    return line if not longest or len(line) <= longest else f"{line[: longest - 1]}…"


def last_line(*texts: str | None) -> str:
    """Return the last line of the first of ``texts`` that is not blank; empty where there is none."""
    lines = next((each.strip().splitlines() for each in texts if each and each.strip()), [""])
    return lines[-1].strip()


def markdown(text: str) -> str:
    """Return ``text`` as one line of Markdown, with markup and HTML escaped."""
    plain = _MARKDOWN.sub(r"\\\1", one_line(text))
    return "".join(_HTML.get(character, character) for character in plain)


def without_formula(text: str) -> str:
    """Return ``text`` as a cell that spreadsheets do not interpret as a formula, with an apostrophe if needed.

    To undo it, remove the first character of each text that begins with an apostrophe. Where ``EAS_CSV_FORMULA_PREFIX``
    is *false*, *no*, *off* or *0*, the text stays as it is.
    """
    if text.startswith(ESCAPED_PREFIXES) and not _NUMBER.fullmatch(text):
        return (
            text
            if os.environ.get(FORMULA_PREFIX_VARIABLE, "").strip().lower() in _FALSE_VALUES
            else FORMULA_PREFIX + text
        )
    return text


class RecordFormatter(logging.Formatter):
    """Indents all lines of a record except the first, so that its text cannot imitate another record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text, tracebacks included."""
        return visible(super().format(record)).replace("\n", "\n    ")


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fitting_columns(widths: Sequence[int], room: int, important: Sequence[int]) -> list[int]:
    """Return the indices of the columns that fit into a table, from left to right; at least one.

    ``widths``: of all columns, with the blanks between them; ``important``: places in the order in which they
    find room, before the others, which are left out from the right.
    """
    chosen: list[int] = []
    left = room
    for place in important:
        if widths[place] <= left or not chosen:
            chosen.append(place)
            left -= widths[place]
    for place in range(len(widths)):
        if place not in chosen and place not in important:
            if widths[place] > left and chosen:
                break
            chosen.append(place)
            left -= widths[place]
    return sorted(chosen)


def time_text(when: float | None) -> str:
    """Return a Unix time [s] as ``2026-11-22 08:30:05`` (UTC), empty for None or what is no time."""
    if when is None or not math.isfinite(when) or not 0 <= when < 2e11:
        return ""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration_text(seconds: float | None) -> str:
    """Return a duration [s] as ``0.25 s``, ``3 min 5 s``, ``2 h 10 min`` or ``3 d 4 h``; empty for None."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for name, size, lower, unit in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // unit} {lower}"
    return f"{whole} s"


def size_text(size: float | None) -> str:
    """Return a number of bytes as ``20.0 kB``; empty for None."""
    if size is None:
        return ""
    value = float(size)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def value_text(value: object) -> str:
    """Return a metadata value for reading: floats with six significant digits."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(str(value))
