"""What commands print and log: nothing that users named can control the terminal or forge a line of the log."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from eas.plain_text import RecordFormatter, visible


def echo(text: object = "", *, err: bool = False, **style: Any) -> None:
    """Print ``text`` with its line breaks; whatever else is not printable is shown as an escape."""
    click.secho(visible(str(text)), err=err, **style)


def log_to_stderr(form: str, *, verbose: bool) -> None:
    """Send the log of this process to the standard error, a record a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RecordFormatter(form))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    # A database that is made on first use would begin the log with a dozen lines of alembic.
    logging.getLogger("alembic").setLevel(logging.WARNING)
