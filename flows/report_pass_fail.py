"""The flow ``report-pass-fail``: outcomes of searches as CSV, table and pictures."""

from __future__ import annotations

import pandas as pd
from prefect import flow

from flows.parameters import Blocks, JobName, Since, TaskType, fail_on_eas_error
from flows.report_output import report
from reports import assemble
from reports.files import write_csv
from reports.job_reports import pictures_by_job


@flow(name="report-pass-fail", persist_result=False)
@fail_on_eas_error
def report_pass_fail(
    job_name: JobName = None, task_type: TaskType = None, since: Since = None, blocks: Blocks = None
) -> str:
    """Write and publish every outcome with parameters and results; draw those of the newest jobs.

    Returns the path of the latest CSV file. ``since``: tasks that were done after it.
    """
    with report("pass_fail", job_name, task_type, since, blocks) as out:
        table = pd.concat(assemble.pass_fail(out.connection, out.filters), ignore_index=True)
        pictures = dict(pictures_by_job(out.connection, table))
    dated, latest = out.paths()
    write_csv(table, dated)
    out.publish_table(table, "Outcomes of searches.")
    text = "# Outcomes" if pictures else "# Outcomes\n\nNo parameter was swept, or nothing has an outcome yet."
    out.publish_text(text, pictures)
    return str(out.finish(dated, latest))
