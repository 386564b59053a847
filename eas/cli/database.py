"""``eas db``: create, migrate, save, restore and prune the task database."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import click

from eas import settings
from eas.app import App
from eas.cli import normalise
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from eas.cli.services import make_url, password_of, reject_url_with_parts
from eas.operations import backup
from eas.operations import prune as pruning
from eas.operations.init import init_database
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.saved_file import Contents


@click.group(context_settings={"token_normalize_func": normalise})
def db() -> None:
    """Create, migrate, save, restore and prune the task database."""


@db.command()
@click.option("--url", help="SQLAlchemy URL; default: the settings.")
@click.option(
    "--db-engine",
    type=click.Choice(["mysql", "sqlite3"]),
    help="Engine of the task database; default: mysql if --db-host, --db-port or --db-user is given.",
)
@click.option("--db-host", help="MySQL: host; default: localhost.")
@click.option("--db-port", type=click.IntRange(1, 65535), help="MySQL: port; default: 3306.")
@click.option("--db-user", help="MySQL: user.")
@click.option("--db-passwd", help="MySQL: password; prefer EAS_DB_PASSWD or the prompt.")
@click.option("--db-name", help="MySQL: database, default eas; sqlite: path of the file.")
def init(
    url: str | None,
    db_engine: str | None,
    db_host: str | None,
    db_port: int | None,
    db_user: str | None,
    db_passwd: str | None,
    db_name: str | None,
) -> None:
    """Create or migrate the task database, write the registry, and save the settings.

    A missing MySQL database is created if the user has the privilege.
    """
    reject_url_with_parts(url, db_engine=db_engine, db_host=db_host, db_port=db_port, db_user=db_user, db_name=db_name)
    if db_engine == "mysql" or (db_engine is None and any((db_host, db_port, db_user))):
        password = password_of(db_passwd, db_user, "EAS_DB_PASSWD", "MySQL")
        url = make_url(
            "mysql+pymysql",
            username=db_user,
            password=password,
            host=db_host or "localhost",
            port=db_port or 3306,
            database=db_name or "eas",
        )
    elif db_engine == "sqlite3" and db_name is not None:
        url = make_url("sqlite", database=str(Path(db_name).absolute()))
    with App.load(database_url=url) as app:
        database_url = app.settings.database()
        done = init_database(database_url, app.registry)
        path = settings.save(app.settings)
    echo(f"task database {settings.safe_url(database_url)}: {done}; settings saved in {path}")


@db.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@json_option
def save(output: Path | None, as_json: bool) -> None:
    """Save a snapshot of the task database in one portable file.

    Jobs may run meanwhile. The file does not include the contents of the file store.
    """
    output = output or Path(time.strftime("eas-task-database-%Y%m%d-%H%M%S.jsonl.gz"))
    with App.load() as app:
        contents = backup.save(app.database, output)
    _print("saved in", output, contents, as_json)


@db.command()
@click.option("--input", "source", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Saved file.")
@click.option("--force", is_flag=True, help="Replace the contents of the task database.")
@json_option
def restore(source: Path, force: bool, as_json: bool) -> None:
    """Restore a saved file into an empty task database, on any engine."""
    with App.load() as app, closing(TaskDatabase(app.settings.database())) as database:
        contents = backup.restore(database, app.registry, source, force=force)
    _print("restored from", source, contents, as_json)


@db.command()
@click.option(
    "--older-than", metavar="TIME", required=True, help="Age of a job's end (30d, 12h), or a time (2026-11-22T08:30)."
)
@click.option("--products", is_flag=True, help="Also remove jobs with file products, and their stored files.")
@click.option("--apply", is_flag=True, help="Remove the jobs; without this option, only print what would be removed.")
@json_option
def prune(older_than: str, products: bool, apply: bool, as_json: bool) -> None:
    """Remove jobs that ended long ago, with their tasks, attempts and logs; without --apply, only print them.

    A job that made file products is kept without its logs and superseded attempts, unless --products is
    given. A job whose products another job has read, or may read (an unfinished job in the same working
    directory), is always kept. Staging folders of killed workers are removed in any case. Jobs may run
    meanwhile.
    """
    from reports.filters import parse_older_than

    with App.load() as app:
        before = parse_older_than(older_than, app.database.now(), "--older-than")
        do = pruning.prune if apply else pruning.plan
        pruned = do(app.database, app.store, before, products=products)
    if as_json:
        print_json(pruned.to_json() | {"applied": apply})
    else:
        echo(("removed: " if apply else "would be removed with --apply: ") + pruned.message)


def _print(what: str, path: Path, contents: Contents, as_json: bool) -> None:
    if as_json:
        plain = {"file": str(path), "schema": contents.schema, "rows": dict(contents.rows), "sha256": contents.sha256}
        print_json(plain | {"not_carried": backup.NOT_CARRIED})
        return
    jobs = contents.rows["jobs"]
    echo(f"{contents.total} rows of {jobs} jobs {what} {path}; {backup.NOT_CARRIED}")
