"""The flow ``report-progress``: how far jobs are, as CSV, table and picture."""

from __future__ import annotations

from prefect import flow

from flows.report_output import JobName, Since, TaskType, report
from reports import assemble
from reports.progress_picture import progress_picture
from reports.write import write_csv


@flow(name="report-progress", persist_result=False)
def report_progress(job_name: JobName = None, task_type: TaskType = None, since: Since = None) -> str:
    """Write and publish tasks by job, type and state, with the share done and the time left.

    Returns the path of the latest CSV file. ``since``: jobs that had not ended before it.
    """
    with report("progress", job_name, task_type, since) as out:
        frame = assemble.progress(out.connection, out.filters, out.now)
    dated, latest = out.paths()
    write_csv(frame, dated)
    out.publish_table(frame, "Tasks of each job and type by state.")
    out.publish_text("# Progress", {"picture": progress_picture(frame)})
    return str(out.finish(dated, latest))
