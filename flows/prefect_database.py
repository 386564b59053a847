"""The database of a local Prefect server, which starts as a copy of a template.

On a new database, Prefect's migrations and block types take 6 s of CPU, longer than the rest of the
server's start. The template contains both. It is created once for each release of Prefect: when the
environment is set up (``python -m flows.prefect_database``), or by the first server.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

DATABASE, PREPARED = "prefect.db", "prefect-version"


def configure(folder: Path) -> None:
    """Set the environment of Prefect's server, before Prefect is imported, so that it stores its data in ``folder``."""
    os.environ |= {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / DATABASE}",
        "PREFECT_API_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
    }


async def prepare(folder: Path) -> None:
    """Bring the database in ``folder`` to the state that this release of Prefect needs; ``configure`` comes before."""
    template = template_path()
    new = not (folder / DATABASE).exists()
    if new and template.exists():
        _copy(template, folder)
    elif new or _prepared(folder) != _version():
        await _migrate()
        if new:
            with suppress(OSError):  # the environment may belong to another user
                _save_template(folder, template)
    else:
        return
    (folder / PREPARED).write_text(_version())


def template_path() -> Path:
    """Return the path of the template for this release of Prefect, in the Python environment."""
    return Path(sys.prefix) / "share" / "eas" / f"prefect-{_version()}.sqlite"


def _version() -> str:
    return importlib.metadata.version("prefect")


def _prepared(folder: Path) -> str:
    """Return the release of Prefect that last prepared the database."""
    try:
        return (folder / PREPARED).read_text()
    except FileNotFoundError:
        return ""


def _copy(template: Path, folder: Path) -> None:
    for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (folder / name).unlink(missing_ok=True)  # a stale journal: sqlite would apply it to the new database
    copied = folder / f"{DATABASE}.new"
    shutil.copyfile(template, copied)
    copied.replace(folder / DATABASE)


async def _migrate() -> None:
    import prefect.plugins
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    database = provide_database_interface()
    await database.create_db()
    prefect.plugins.load_prefect_collections()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)


def _save_template(folder: Path, template: Path) -> None:
    template.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=template.parent) as scratch:
        copied = Path(scratch) / DATABASE
        with closing(sqlite3.connect(folder / DATABASE)) as source, closing(sqlite3.connect(copied)) as target:
            source.backup(target)
        copied.replace(template)


def main() -> None:
    """Create the template unless it exists."""
    if template_path().exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder))
        asyncio.run(prepare(Path(folder)))


if __name__ == "__main__":
    main()
