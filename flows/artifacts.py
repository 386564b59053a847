"""Artifacts in the Prefect UI: their keys stay the same, so that their history can be browsed."""

from __future__ import annotations

import base64
import re

import pandas as pd
from prefect.artifacts import create_table_artifact

from reports.tables import cell

MOST_ROWS = 500
"""Rows of a table artifact: the whole table is in the CSV file."""


def artifact_key(text: str) -> str:
    """Return ``text`` as Prefect wants the keys of artifacts: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def publish_table(frame: pd.DataFrame, key: str, description: str) -> None:
    """Publish the first rows of a table as an artifact."""
    shown = frame.head(MOST_ROWS)
    names = [str(name) for name in shown.columns]
    rows = [dict(zip(names, map(cell, row), strict=True)) for row in shown.itertuples(index=False)]
    if len(frame) > len(shown):
        description += f" The first {len(shown)} of {len(frame)} rows."
    create_table_artifact(rows, key=artifact_key(key), description=description)


def picture(name: str, png: bytes) -> str:
    """Return markdown that shows a picture, which is itself in it: no file server is needed."""
    return f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})"


def indented(text: str) -> str:
    """Return text as a block of markdown, which no fence in it can end."""
    return "\n".join(f"    {line}" for line in text.splitlines())
