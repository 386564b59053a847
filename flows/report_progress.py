"""The flow ``report-progress``: progress of jobs as CSV, table and picture."""

from __future__ import annotations

from prefect import flow, get_run_logger

from eas.plain_text import markdown as escaped
from eas.taskdb.queries import service_warnings
from flows.parameters import Blocks, JobName, Since, TaskType, fail_on_eas_error
from flows.progress_table import description, readable
from flows.report_output import report
from reports import assemble
from reports.files import write_csv
from reports.progress_picture import progress_picture


@flow(name="report-progress", persist_result=False)
@fail_on_eas_error
def report_progress(
    job_name: JobName = None, task_type: TaskType = None, since: Since = None, blocks: Blocks = None
) -> str:
    """Write and publish tasks by job, type and state, with the share done and the time left.

    Returns the path of the latest CSV file. ``since``: jobs that had not ended before it.
    """
    with report("progress", job_name, task_type, since, blocks) as out:
        frame = assemble.progress(out.connection, out.filters, out.now)
        warnings = service_warnings.warnings(out.connection, out.now, out.settings.lease)
    dated, latest = out.paths()
    write_csv(frame, dated)
    out.publish_table(readable(frame), description(warnings))
    for each in warnings:
        get_run_logger().warning(each)
    text = "\n\n".join(["# Progress", *(f"**WARNING: {escaped(each)}**" for each in warnings)])
    out.publish_text(text, {"picture": progress_picture(frame)})
    return str(out.finish(dated, latest))
