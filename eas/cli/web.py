"""``eas web``: the read-only web application."""

from __future__ import annotations

import click

from eas.app import App


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all.")
@click.option("--port", type=click.IntRange(0, 65535), default=4280, show_default=True, help="Port; 0: any free one.")
@click.option(
    "--user-header",
    metavar="NAME",
    help="Header in which a reverse proxy sends the user name; requests without it are rejected.",
)
def web(host: str, port: int, user_header: str | None) -> None:
    """Serve every job, task, file and log to browsers, read-only, until Ctrl-C.

    If EAS_WEB_PASSWORD is set, browsers ask for this password (user name: eas). On any address other than
    loopback, set it, or use a reverse proxy that passes the user's name in --user-header.
    """
    from eas.web.server import serve

    with App.load() as app:
        serve(app, host, port, user_header=user_header)
