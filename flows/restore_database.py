"""The flow ``restore-database``: restores a saved file into a task database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.operations import backup
from eas.taskdb.engine import TaskDatabase
from flows.parameters import Blocks, described, fail_on_eas_error, open_app


@flow(name="restore-database", persist_result=False)
@fail_on_eas_error
def restore_database(
    input_file: Annotated[str, described("File of save-database, on the machine where the flow runs.")],
    force: Annotated[bool, described("Replace the contents of the task database; they are lost.")] = False,
    blocks: Blocks = None,
) -> Any:
    """Restore a saved file into an empty task database, on any engine.

    Rejects a database that contains jobs unless forced. Returns the number of restored rows.
    """
    with open_app(blocks) as app, closing(TaskDatabase(app.settings.database())) as database:
        contents = backup.restore(database, app.registry, Path(input_file), force=force)
    get_run_logger().info("%d rows of %d jobs restored from %s", contents.total, contents.rows["jobs"], input_file)
    return contents.total
