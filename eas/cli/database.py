"""``eas db``: make, migrate, save and restore the task database."""

from __future__ import annotations

import click

from eas import settings
from eas.app import App
from eas.cli import normalise
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise


@click.group(context_settings={"token_normalize_func": normalise})
def db() -> None:
    """Make, migrate, save and restore the task database."""


@db.command()
@click.option("--url", help="SQLAlchemy URL; default: what the settings say.")
def init(url: str | None) -> None:
    """Create or migrate the task database, fill in the registry, and save the settings."""
    app = App.load(database_url=url)
    with app:
        database = TaskDatabase(app.settings.database())
        done = initialise(database, app.registry)
        database.close()
        path = settings.save(app.settings)
    click.echo(f"task database {database.safe_url}: {done}; settings saved in {path}")
