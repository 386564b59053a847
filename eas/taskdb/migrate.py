"""Create or migrate the task database to the schema that this release declares.

Alembic is imported only if a migration is needed, because the import takes half a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, insert, inspect, select, text

from eas.errors import RequestError, ServiceError
from eas.registry import Registry
from eas.taskdb import dialects, tables
from eas.taskdb.engine import TaskDatabase

if TYPE_CHECKING:
    from alembic.config import Config


def _config() -> Config:
    from alembic.config import Config

    with as_file(files("eas.taskdb").joinpath("migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        return config


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


@cache
def head_revision() -> str:
    """Return the revision of the schema that this release declares: its files are numbered."""
    names = [each.name for each in files("eas.taskdb.migrations").joinpath("versions").iterdir()]
    return max(name.partition("_")[0] for name in names if name[:1].isdigit())


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None where it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def initialise(database: TaskDatabase, registry: Registry) -> str:
    """Create or migrate the schema and write the registry; a second call has no effect.

    Returns *created*, *migrated* or *unchanged*. Raises RequestError for a database that a later release has
    migrated.
    """
    with _migration_lock(database), database.write() as connection:
        before = current_revision(connection)
        if before is not None and before not in _known_revisions():
            raise RequestError(
                f"the task database {database.safe_url} has the schema {before} of another release",
                hint="use the release of eas that created it, or a later one",
            )
        if not database.is_sqlite:
            _check_server(connection, database)
        if before is None:
            _drop_partial_schema(connection, database)
        if before != head_revision():
            upgrade(connection, "head")
        _fill_registry(connection, registry)
    if before is None:
        return "created"
    return "unchanged" if before == head_revision() else "migrated"


def upgrade(connection: Connection, revision: str) -> None:
    """Run the migrations up to ``revision``."""
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Revert the migrations after ``revision``; data that only later schemas hold are lost."""
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


@contextmanager
def _migration_lock(database: TaskDatabase) -> Iterator[None]:
    """Exclude other processes from migrating; with sqlite, its write lock does so."""
    if database.is_sqlite:
        yield
        return
    # A separate connection: the lock must be held until the migrating transaction has committed.
    with database.read() as connection:
        # Not SHA1(): MySQL 9.6 and later have it in a component only.
        name = select(func.concat("eas-migrate-", func.sha2(func.database(), 256)))
        lock = connection.execute(name).scalar_one()[:64]
        if connection.execute(select(func.get_lock(lock, 120))).scalar() != 1:
            raise ServiceError(
                "another process has been migrating the task database for 2 minutes", hint="try again later"
            )
        try:
            yield
        finally:
            connection.execute(select(func.release_lock(lock)))


def _check_server(connection: Connection, database: TaskDatabase) -> None:
    if not dialects.skips_locked(connection):
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
        raise RequestError(
            f"the server of {database.safe_url} is version {version}, which cannot skip locked rows",
            hint="use MySQL 8 or MariaDB 10.6, or later ones",
        )


def _drop_partial_schema(connection: Connection, database: TaskDatabase) -> None:
    """Remove tables that a killed ``initialise`` left: MySQL commits each table when it is created."""
    _reject_foreign_tables(connection, database)
    present = set(inspect(connection).get_table_names())
    for table in reversed(tables.metadata.sorted_tables):
        if table.name in present:
            table.drop(connection)


def _reject_foreign_tables(connection: Connection, database: TaskDatabase) -> None:
    """Raise RequestError for a database without EAS's schema that holds tables or rows of another program."""
    present = set(inspect(connection).get_table_names()) - {"alembic_version"}
    declared = [table for table in tables.metadata.sorted_tables if table.name in present]
    foreign = present - {table.name for table in declared}
    filled = {table.name for table in declared if connection.execute(select(func.count()).select_from(table)).scalar()}
    if not foreign | filled:
        return
    names = sorted(foreign | filled)
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    whose = "the EAS prototype" if any(name.startswith("eas_") for name in names) else "another program"
    raise RequestError(
        f"the database {database.safe_url} holds tables of {whose} ({shown}), and no schema of this package; "
        "nothing was changed",
        hint="give the task database a database of its own",
    )


def require_schema(database: TaskDatabase) -> None:
    """Raise ServiceError unless the database has the schema that this release declares."""
    with database.read() as connection:
        found = current_revision(connection)
        if found is None:
            _reject_foreign_tables(connection, database)
    if found != head_revision():
        state = "is empty" if found is None else f"has schema {found}, but this release needs {head_revision()}"
        raise ServiceError(f"the task database {database.safe_url} {state}", hint="run `eas db init`")


def schema_mismatch(database: TaskDatabase) -> str:
    """Return how the schema differs from this release's; empty if it does not, or if there is none."""
    found = database.fetch(current_revision)
    if found is None or found == head_revision():
        return ""
    return f"the task database now has schema {found}, but this release needs {head_revision()}"


def ensure_schema(database: TaskDatabase, registry: Registry) -> None:
    """Create the schema on first use of a sqlite file; with a server, require that it exists."""
    if not database.is_sqlite:
        require_schema(database)
        return
    with database.read() as connection:
        found = current_revision(connection)
        ready = found == head_revision() and _registry_is_filled(connection, registry)
    if not ready:
        initialise(database, registry)


def _registry_is_filled(connection: Connection, registry: Registry) -> bool:
    found = {row.name for row in connection.execute(select(tables.task_types.c.name))}
    return found >= set(registry.task_types)


def _fill_registry(connection: Connection, registry: Registry) -> None:
    """Write task types and worker types; keep the resources that a deployment assigned."""
    assigned = {
        row.name: {
            "assigned_cpu": row.assigned_cpu,
            "assigned_gpu": row.assigned_gpu,
            "assigned_memory": row.assigned_memory,
        }
        for row in connection.execute(select(tables.worker_types))
    }
    none = {"assigned_cpu": None, "assigned_gpu": None, "assigned_memory": None}
    connection.execute(delete(tables.task_types))
    connection.execute(delete(tables.worker_types))
    connection.execute(
        insert(tables.worker_types),
        [
            {
                "name": each.name,
                "cpu": each.cpu,
                "gpu": each.gpu,
                "memory": each.memory,
                **assigned.get(each.name, none),
            }
            for each in registry.worker_types.values()
        ],
    )
    connection.execute(
        insert(tables.task_types),
        [
            {"name": each.name, "worker_type": each.worker_type or None, "control": each.control}
            for each in registry.task_types.values()
        ],
    )
