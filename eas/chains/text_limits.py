"""Limits on texts in chains: printable, and not longer than their database columns.

Names are stripped of surrounding blanks, because MySQL and MariaDB ignore trailing blanks in comparisons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TypeAlias

from eas import column_sizes
from eas.errors import RequestError

TextProblem: TypeAlias = tuple[str, str]
"""Message and hint."""

_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LIMITS = {"semantic": column_sizes.SEMANTIC, "working_directory": column_sizes.PRODUCT, "seed": column_sizes.SEED}


def text_problem(text: str) -> TextProblem | None:
    """Return the fault of ``text`` if it cannot be stored or displayed, else None."""
    if text.isascii() and text.isprintable():
        return None
    found = _NO_TEXT.search(text)
    if found is None:
        return None
    if found[0] >= "\ud800":
        return "holds half of a Unicode surrogate pair", "write the character itself"
    return f"holds the control character {found[0]!r}", "use printable characters"


def name_problem(text: str, key: str = "name") -> TextProblem | None:
    """Return the fault of the stripped ``text`` as the value of ``key``, or None if it is valid."""
    limit = _LIMITS.get(key, column_sizes.NAME)
    if len(text) > limit:
        return f"is longer than {limit} characters", "choose a shorter name"
    if found := _NO_NAME.search(text):
        return text_problem(text) or (f"holds the control character {found[0]!r}", "use printable characters")
    return None


def names_fault(names: Sequence[str]) -> TextProblem | None:
    """Return the fault of a list of required names that is too long to be stored, else None."""
    if len(json.dumps(names)) <= column_sizes.TEXT_BYTES:  # in ASCII, so characters are bytes
        return None
    return f"takes more than {column_sizes.TEXT_BYTES} bytes", "name fewer tasks, or give them shorter names"


def check_option(value: str, key: str, option: str) -> str:
    """Return an option's value without blanks around it; raise RequestError if the job cannot hold it."""
    text = value.strip()
    if fault := name_problem(text, key) if text else ("is empty", "give a value, or leave the option out"):
        raise RequestError(f"{option} {fault[0]}", hint=fault[1])
    return text
