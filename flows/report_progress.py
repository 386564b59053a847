"""The flow ``report-progress``: how far jobs are, as CSV, table and picture."""

from __future__ import annotations

import pandas as pd
from prefect import flow

from flows.parameters import Blocks, JobName, Since, TaskType, told
from flows.report_output import report
from reports import assemble
from reports.progress import STATES
from reports.progress_picture import progress_picture
from reports.write import write_csv


@flow(name="report-progress", persist_result=False)
@told
def report_progress(
    job_name: JobName = None, task_type: TaskType = None, since: Since = None, blocks: Blocks = None
) -> str:
    """Write and publish tasks by job, type and state, with the share done and the time left.

    Returns the path of the latest CSV file. ``since``: jobs that had not ended before it.
    """
    with report("progress", job_name, task_type, since, blocks) as out:
        frame = assemble.progress(out.connection, out.filters, out.now)
    dated, latest = out.paths()
    write_csv(frame, dated)
    out.publish_table(_for_people(frame), "Tasks of each job and type by state, the newest jobs first.")
    out.publish_text("# Progress", {"picture": progress_picture(frame)})
    return str(out.finish(dated, latest))


def _for_people(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the newest jobs first, without states that no task is in."""
    empty = [state for state in STATES if not frame[state].any()]
    return frame.drop(columns=empty).sort_values("job_id", ascending=False, kind="stable")
