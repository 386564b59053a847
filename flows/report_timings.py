"""The flow ``report-timings``: resource use of attempts as CSV, summary and chart."""

from __future__ import annotations

import pandas as pd
from prefect import flow

from flows.parameters import Blocks, JobName, Since, TaskType, fail_on_eas_error
from flows.report_output import report
from reports import assemble
from reports.files import write_csv
from reports.timeline import timeline_picture


@flow(name="report-timings", persist_result=False)
@fail_on_eas_error
def report_timings(
    job_name: JobName = None, task_type: TaskType = None, since: Since = None, blocks: Blocks = None
) -> str:
    """Write every finished attempt with its loop parameters, times, CPU and memory; publish a summary.

    Returns the path of the latest CSV file. ``since``: attempts that ended after it.
    """
    with report("timings", job_name, task_type, since, blocks) as out:
        dated, latest = out.paths()
        summary = assemble.write_timings(out.connection, out.filters, dated)
        timeline = pd.concat(assemble.timeline(out.connection, out.filters, out.now), ignore_index=True)
    summary_dated, summary_latest = out.paths("summary")
    out.finish(write_csv(summary, summary_dated), summary_latest)
    out.publish_table(summary, "Wall-clock and CPU time and peak memory of finished attempts, by task type.")
    out.publish_text("# Tasks by worker and time", {"timeline": timeline_picture(timeline, out.now)})
    return str(out.finish(dated, latest))
