"""The console of commands: nothing that users named can control the terminal, or is taken for markup."""

from __future__ import annotations

from typing import IO, Any

from rich.console import Console

from eas.plain_text import visible


class Terminal(Console):
    """A console that takes strings as they are, without markup; what is not printable is shown as an escape."""

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, **options: Any) -> None:
        super().__init__(stderr=stderr, file=file, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Any:
        """Return a string as rich's text."""
        return super().render_str(visible(text), **options)

    def out(self, *objects: Any, **options: Any) -> None:
        """Print without wrapping."""
        super().out(*(visible(str(each)) for each in objects), **options)
