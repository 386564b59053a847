"""The flow ``restore-database``: a saved file back into a task database."""

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
    input_file: Annotated[str, described("File that save-database wrote, where this runs.")],
    force: Annotated[bool, described("Replace what the task database holds: all of it is lost.")] = False,
    blocks: Blocks = None,
) -> Any:
    """Restore a saved file into an empty task database, on any engine.

    Refuses a database with jobs in it unless forced. Returns how many rows were restored.
    """
    with open_app(blocks) as app, closing(TaskDatabase(app.settings.database())) as database:
        contents = backup.restore(database, app.registry, Path(input_file), force=force)
    get_run_logger().info("%d rows of %d jobs restored from %s", contents.total, contents.rows["jobs"], input_file)
    return contents.total
