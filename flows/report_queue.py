"""The flow ``report-queue``: queues, and the workers that serve them."""

from __future__ import annotations

from prefect import flow

from eas.states import WorkerState
from flows.parameters import Blocks, JobName, TaskType, fail_on_eas_error
from flows.report_output import report
from reports import assemble
from reports.files import write_csv
from reports.tables import plain_lines


@flow(name="report-queue", persist_result=False)
@fail_on_eas_error
def report_queue(job_name: JobName = None, task_type: TaskType = None, blocks: Blocks = None) -> str:
    """Write and publish depth and oldest age of each queue, and all workers with their current tasks.

    Returns the path of the latest CSV file of the queues.
    """
    with report("queue", job_name, task_type, None, blocks) as out:
        queues = assemble.queues(out.connection, out.filters, out.now, out.settings.lease)
        workers = assemble.workers(out.connection, out.filters, out.now)
    workers_dated, workers_latest = out.paths("workers")
    out.finish(write_csv(workers, workers_dated), workers_latest)
    dated, latest = out.paths()
    write_csv(queues, dated)
    out.publish_table(queues, "Waiting attempts by task type.")
    out.publish_table(workers, "Workers and their current tasks, newest first.", "workers")
    alive = workers[workers["state"] == WorkerState.ALIVE]
    lines = [f"    {line}" for line in plain_lines(alive)] if len(alive) else ["No worker is alive."]
    out.publish_text("\n".join(["# Workers", "", *lines]))
    return str(out.finish(dated, latest))
