"""Runs the application until it is stopped."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

import click
import uvicorn

from eas.app import App
from eas.errors import ServiceError
from eas.web.application import create
from eas.web.security import LOCAL, USER, Access, allowed_hosts

PASSWORD = "EAS_WEB_PASSWORD"  # noqa: S105 - the name of the variable


def serve(app: App, host: str, port: int, *, user_header: str | None = None) -> None:
    """Serve pages on an address until SIGINT or SIGTERM. Raises ServiceError where it cannot listen there."""
    password = os.environ.get(PASSWORD, "")
    guarded = bool(password or user_header)
    known = urlsplit(app.settings.web_url).hostname or ""
    access = Access(password, user_header or "", allowed_hosts(host, known, guarded=guarded))
    listener = _listen(host, port)
    bound = listener.getsockname()[1]
    app.database.ping()
    listener.listen()  # accept connections before the address is printed
    click.echo(f"EAS is at http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{bound} (Ctrl-C stops it)")  # noqa: S104
    if password:
        click.echo(f"user name: {USER}; the password is that of {PASSWORD}")
    elif host not in LOCAL and not user_header:
        click.secho(
            f"warning: anyone who reaches {host} can read it all; set {PASSWORD} or --user-header", err=True, fg="red"
        )
    config = uvicorn.Config(create(app, access), log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit IPPROTO_TCP asyncio sets TCP_NODELAY; otherwise each page waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = "another program may use it: choose another --port"
        raise ServiceError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from None
    return listener
