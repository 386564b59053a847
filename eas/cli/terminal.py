"""The rich console of commands, without markup and with control characters escaped."""

from __future__ import annotations

from typing import IO, Any

from rich.console import Console

from eas.plain_text import visible


class Terminal(Console):
    """A console that prints strings without markup and escapes unprintable characters."""

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, **options: Any) -> None:
        super().__init__(stderr=stderr, file=file, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Any:
        """Return a string as rich's text."""
        return super().render_str(visible(text), **options)

    def out(self, *objects: Any, **options: Any) -> None:
        """Print without wrapping."""
        super().out(*(visible(str(each)) for each in objects), **options)
