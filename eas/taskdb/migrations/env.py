"""Alembic's entry: it is always handed a connection by ``eas.taskdb.migrate``."""

from alembic import context

from eas.taskdb.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_type=True)
context.run_migrations()
