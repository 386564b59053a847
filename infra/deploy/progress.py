"""Shows progress while a command waits: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from eas.plain_text import visible

PLAIN_INTERVAL = 10.0
Row = tuple[str, str]


class Progress:
    """Shows steps, and what is still pending."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live: Live | None = None
        self._printed_at = 0.0
        self._last: Sequence[Row] = ()

    def print_line(self, text: str) -> None:
        """Print a permanent line."""
        self._end()
        self.console.print(Text(visible(text)), soft_wrap=True)

    def update(self, rows: Sequence[Row]) -> None:
        """Update the display of pending objects and their state."""
        if self.console.is_terminal:
            if self._live is None:
                self._live = Live(console=self.console, transient=True, refresh_per_second=4)
                self._live.start()
            self._live.update(_table(rows))
        elif rows != self._last or time.monotonic() - self._printed_at > PLAIN_INTERVAL:
            self.console.print(
                Text(visible("waiting: " + "; ".join(f"{name}: {state}" for name, state in rows))), soft_wrap=True
            )
            self._printed_at, self._last = time.monotonic(), list(rows)

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, state in rows:
        table.add_row(Text(name, "bold"), Text(state))
    return table
