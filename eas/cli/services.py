"""Options that name a service: a URL, or the prototype's host, port, user and password."""

from __future__ import annotations

import os
import sys

import click
from sqlalchemy.engine import URL

from eas.errors import SettingsError


def password_of(given: str | None, user: str | None, variable: str, what: str) -> str | None:
    """Return the password: from the command line, else the environment, else read from a terminal."""
    if given is not None or user is None:
        return given
    if found := os.environ.get(variable):
        return found
    if sys.stdin.isatty():
        return str(click.prompt(f"password of {what} user {user}", hide_input=True, default="", show_default=False))
    return None


def reject_url_with_parts(url: str | None, **parts: object) -> None:
    """Raise SettingsError if both a URL and parts of one are given."""
    given = [f"--{name.replace('_', '-')}" for name, value in parts.items() if value is not None]
    if url is not None and given:
        raise SettingsError(f"--url and {', '.join(given)} exclude each other", hint="leave one of them out")


def make_url(drivername: str, **parts: str | int | None) -> str:
    """Return the URL of quoted parts."""
    return URL.create(drivername, **parts).render_as_string(hide_password=False)  # type: ignore[arg-type]
