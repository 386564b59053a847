"""Artifacts in the Prefect UI, with stable keys, so that the UI shows their history."""

from __future__ import annotations

import base64
import re
from typing import Any

import pandas as pd
from prefect.artifacts import create_table_artifact

from eas.plain_text import markdown, one_line, visible
from reports.tables import cell

MAX_ROWS = 500
"""Maximum number of rows of a table artifact; the CSV file contains the whole table."""


def artifact_key(text: str) -> str:
    """Return ``text`` as a valid artifact key: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def publish_table(frame: pd.DataFrame, key: str, description: str) -> None:
    """Publish the first rows of a table as an artifact."""
    rows, more = table_rows(frame)
    create_table_artifact(rows, key=artifact_key(key), description=description + more)


def table_rows(frame: pd.DataFrame) -> tuple[list[dict[str, str]], str]:
    """Return the first rows of a table for an artifact, and a sentence about omitted rows."""
    shown = frame.head(MAX_ROWS)
    names = [str(name) for name in shown.columns]
    rows = [dict(zip(names, map(_cell, row), strict=True)) for row in shown.itertuples(index=False)]
    return rows, f" The first {len(shown)} of {len(frame)} rows." if len(frame) > len(shown) else ""


def _cell(value: Any) -> str:
    return one_line(cell(value))


def picture(name: str, png: bytes) -> str:
    """Return markdown with an embedded picture, so that no file server is needed."""
    return f"![{markdown(name)}](data:image/png;base64,{base64.b64encode(png).decode()})"


def code(text: str) -> str:
    """Return text as inline code of Markdown; backticks in the text cannot end it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if "`" in text else ""
    return f"{fence}{blank}{one_line(text)}{blank}{fence}"


def linked(text: str, url: str) -> str:
    """Return markdown as a link, or unchanged if there is no address."""
    return f"[{text}]({url})" if url else text


def indented(text: str) -> str:
    """Return text as an indented code block of Markdown; fences in the text cannot end it."""
    return "\n".join(f"    {line}" for line in visible(text).splitlines())
