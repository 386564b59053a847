"""Output and logging of commands, with control characters escaped: texts of users may contain any."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from eas.plain_text import RecordFormatter, visible


def echo(text: object = "", *, err: bool = False, **style: Any) -> None:
    """Print ``text``; escape unprintable characters except line breaks."""
    click.secho(visible(str(text)), err=err, **style)


def log_to_stderr(form: str, *, verbose: bool) -> None:
    """Write the log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RecordFormatter(form))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    # Alembic logs a dozen lines when a database is created on first use.
    logging.getLogger("alembic").setLevel(logging.WARNING)
