"""The flow ``report-errors``: every logged error and traceback, as CSV and grouped by last line."""

from __future__ import annotations

from prefect import flow

from eas import web_addresses
from eas.plain_text import markdown as escaped
from flows.artifacts import indented, linked
from flows.parameters import Blocks, JobName, Since, TaskType, fail_on_eas_error
from flows.report_output import report
from reports import assemble
from reports.files import write_csv

MAX_ERRORS = 10


@flow(name="report-errors", persist_result=False)
@fail_on_eas_error
def report_errors(
    job_name: JobName = None, task_type: TaskType = None, since: Since = None, blocks: Blocks = None
) -> str:
    """Write all errors ever logged; publish them grouped by last line, and the newest ones in full.

    Returns the path of the latest CSV file. ``since``: errors that were logged after it.
    """
    with report("errors", job_name, task_type, since, blocks) as out:
        dated, latest = out.paths()
        groups = assemble.write_errors(out.connection, out.filters, dated)
        newest, _ = assemble.newest_errors(out.connection, out.filters, MAX_ERRORS)
    groups_dated, groups_latest = out.paths("grouped")
    out.finish(write_csv(groups, groups_dated), groups_latest)
    out.publish_table(groups, "Number of errors by last line.")
    parts = ["# The newest errors" if len(newest) else "# No errors"]
    for row in newest.iloc[::-1].to_dict("records"):
        page = web_addresses.link(out.settings.web_url, web_addresses.task(row["task_id"]))
        task = linked(f"task {row['task_id']}", page)
        head = f"## {row['time [UTC]']}: {escaped(row['task_type'])}, {task} of job {escaped(row['job_name'])}"
        parts.append(f"{head}\n\n{indented(row['traceback'] or row['message'])}")
    out.publish_text("\n\n".join(parts))
    return str(out.finish(dated, latest))
