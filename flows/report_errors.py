"""The flow ``report-errors``: every logged error and traceback, as CSV and grouped by last line."""

from __future__ import annotations

from prefect import flow

from flows.artifacts import indented
from flows.parameters import Blocks, JobName, Since, TaskType, told
from flows.report_output import report
from reports import assemble
from reports.write import write_csv

NEWEST = 10


@flow(name="report-errors", persist_result=False)
@told
def report_errors(
    job_name: JobName = None, task_type: TaskType = None, since: Since = None, blocks: Blocks = None
) -> str:
    """Write all errors ever logged; publish them grouped by last line, and the newest ones in full.

    Returns the path of the latest CSV file. ``since``: errors that were logged after it.
    """
    with report("errors", job_name, task_type, since, blocks) as out:
        dated, latest = out.paths()
        groups = assemble.write_errors(out.connection, out.filters, dated)
        newest, _ = assemble.newest_errors(out.connection, out.filters, NEWEST)
    groups_dated, groups_latest = out.paths("grouped")
    out.finish(write_csv(groups, groups_dated), groups_latest)
    out.publish_table(groups, "Errors with the same last line, counted.")
    parts = ["# The newest errors" if len(newest) else "# No errors"]
    for row in newest.iloc[::-1].to_dict("records"):
        head = f"## {row['time [UTC]']}: {row['task_type']}, task {row['task_id']} of job {row['job_name']}"
        parts.append(f"{head}\n\n{indented(row['traceback'] or row['message'])}")
    out.publish_text("\n\n".join(parts))
    return str(out.finish(dated, latest))
