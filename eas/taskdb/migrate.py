"""Create or migrate the task database to the schema that this release declares."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import OperationalError

from eas.errors import RequestError, ServiceError
from eas.registry import Registry
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase


def _config() -> Config:
    with as_file(files("eas.taskdb").joinpath("migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        return config


def head_revision() -> str:
    """Return the revision of the schema that this release declares."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None where it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def initialise(database: TaskDatabase, registry: Registry) -> str:
    """Create or migrate the schema and fill in the registry; twice changes nothing.

    Returns what was done: *created*, *migrated* or *unchanged*. Raises RequestError for a
    database that a later release of this package has migrated.
    """
    with database.write() as connection:
        before = current_revision(connection)
        known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
        if before is not None and before not in known:
            raise RequestError(
                f"the task database {database.safe_url} has schema {before}, which this release does not know",
                cure="use the release of eas that made it, or a later one",
            )
        if before != head_revision():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        _fill_registry(connection, registry)
    if before is None:
        return "created"
    return "unchanged" if before == head_revision() else "migrated"


def require_schema(database: TaskDatabase) -> None:
    """Raise ServiceError unless the database has the schema that this release declares."""
    with database.read() as connection:
        found = current_revision(connection)
    if found != head_revision():
        state = "is empty" if found is None else f"has schema {found}, but this release needs {head_revision()}"
        raise ServiceError(f"the task database {database.safe_url} {state}", cure="run `eas db init`")


def ensure_schema(database: TaskDatabase, registry: Registry) -> None:
    """Make the schema on first use of a sqlite file; elsewhere require that it is there."""
    if not database.is_sqlite:
        require_schema(database)
        return
    with database.read() as connection:
        found = current_revision(connection)
        ready = found == head_revision() and _registry_is_filled(connection, registry)
    if not ready:
        try:
            initialise(database, registry)
        except OperationalError as error:
            raise ServiceError(
                f"the task database {database.safe_url} cannot be made: {error.orig}",
                cure="check that its folder can be written to",
            ) from error


def _registry_is_filled(connection: Connection, registry: Registry) -> bool:
    found = {row.name for row in connection.execute(select(tables.task_types.c.name))}
    return found >= set(registry.task_types)


def _fill_registry(connection: Connection, registry: Registry) -> None:
    """Write task and worker types; what a deployment assigned to a worker type stays."""
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
