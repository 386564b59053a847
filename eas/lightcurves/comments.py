"""Metadata in the comments of light curve files: lines ``# #key=value``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Final

from eas.model import Scalar

_LINE: Final = re.compile(r"\s*#\s*#\s*([^=\s][^=]*?)\s*=\s*(.*?)\s*", re.DOTALL)


def parse(line: str) -> tuple[str, Scalar] | None:
    """Return the name and the value in a comment line, or None where it is just a comment.

    Numbers, ``true``, ``false`` and ``null`` are JSON's; NaN and infinities count as missing (None);
    whatever else is text, in quotation marks or not.
    """
    matched = _LINE.fullmatch(line)
    if not matched:
        return None
    name, text = matched.groups()
    return name, _value(text)


def _value(text: str) -> Scalar:
    for reader in (json.loads, float):
        try:
            value = reader(text)
        except ValueError:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if value is None or isinstance(value, int | float | str):
            return value
    return {"True": True, "False": False, "None": None}.get(text, text)


def parse_head(text: bytes) -> dict[str, Scalar]:
    """Return the metadata in the comment lines that a file begins with."""
    found: dict[str, Scalar] = {}
    begin = 0
    while text.startswith(b"#", begin):
        end = text.find(b"\n", begin)
        end = len(text) if end < 0 else end
        if pair := parse(text[begin:end].decode("utf-8", "replace")):
            found[pair[0]] = pair[1]
        begin = end + 1
    return found


def to_lines(metadata: Mapping[str, Scalar]) -> bytes:
    """Return the comment lines that `parse_head` reads back as ``metadata``, in ASCII."""
    return "".join(f"# #{name}={json.dumps(value)}\n" for name, value in metadata.items()).encode("ascii", "replace")
