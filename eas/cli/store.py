"""``eas store``: choose and check the file store."""

from __future__ import annotations

import click

from eas import settings
from eas.app import App
from eas.cli import normalise
from eas.cli.output import echo


@click.group(context_settings={"token_normalize_func": normalise})
def store() -> None:
    """Choose and check the file store."""


@store.command()
@click.option("--url", help="An absolute path, or a URL that fsspec understands; default: the settings.")
def init(url: str | None) -> None:
    """Check that the file store can be written, and save the settings for later calls.

    Keys and endpoints of an object store come from EAS_STORE_OPTIONS (a JSON object), or from fsspec's or
    the store's own configuration. Existing files are not moved from another store.
    """
    with App.load(store_url=url) as app:
        app.store.check()
        path = settings.save(app.settings)
        echo(f"file store {app.store.name}: writable; settings saved in {path}")
