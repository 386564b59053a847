"""The flow ``save-database``: a snapshot of the task database as one portable file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.operations import backup
from flows.parameters import Blocks, described, fail_on_eas_error, open_app


@flow(name="save-database", persist_result=False)
@fail_on_eas_error
def save_database(
    output: Annotated[
        str | None, described("File to write; default: a file named after the time, in the folder `backups`.")
    ] = None,
    blocks: Blocks = None,
) -> Any:
    """Save a snapshot of the task database, without file contents; jobs may be running.

    Returns the file's path on the machine where the flow runs.
    """
    with open_app(blocks) as app:
        name = time.strftime("eas-task-database-%Y%m%d-%H%M%S.jsonl.gz")
        path = Path(output) if output else app.settings.data_directory / "backups" / name
        contents = backup.save(app.database, path)
    get_run_logger().info("%d rows of %d jobs saved in %s", contents.total, contents.rows["jobs"], path)
    return str(path)
