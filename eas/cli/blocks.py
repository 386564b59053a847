"""``eas blocks``: the settings as Prefect blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from eas.app import App
from eas.cli import normalise
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from eas.errors import ServiceError


@click.group(context_settings={"token_normalize_func": normalise})
def blocks() -> None:
    """Save the settings as blocks on the Prefect server."""


@blocks.command()
@click.option("--name", default="eas", show_default=True, help="Name of the three blocks.")
@json_option
def save(name: str, as_json: bool) -> None:
    """Register the block types and save the current settings, passwords as secrets.

    Existing blocks are overwritten. Flows use them with the parameter `blocks`.
    """
    with prefect_server(), App.load() as app:
        from blocks import save_blocks

        slugs = save_blocks(app.settings, name)
    if as_json:
        print_json({"blocks": slugs})
    else:
        echo(f"saved {', '.join(slugs)}")


@contextmanager
def prefect_server() -> Iterator[None]:
    """Require a configured Prefect server, and turn its errors into ServiceError."""
    from httpx import HTTPError
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        raise ServiceError(
            "no Prefect server is configured", hint="start one (`prefect server start`) and set PREFECT_API_URL"
        )
    try:
        yield
    except (HTTPError, PrefectHTTPStatusError) as error:
        problem = (str(error) or type(error).__name__).splitlines()[0]
        raise ServiceError(f"the Prefect server {url}: {problem}", hint="check PREFECT_API_URL") from error
