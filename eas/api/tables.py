"""Tables of the Python interface, joined from the parts that queries return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def joined(frames: Iterator[pd.DataFrame]) -> pd.DataFrame:
    """Return the concatenation of the parts of a table; some of them may be empty."""
    import pandas as pd

    parts = list(frames)
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
