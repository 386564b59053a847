"""The flow ``empty-queue``: withdraws all queued attempts."""

from __future__ import annotations

import pandas as pd
from prefect import flow, get_run_logger

from eas.operations import empty_queue as control
from flows.artifacts import publish_table
from flows.parameters import RETRIES, RETRY_DELAY, Blocks, JobName, fail_on_eas_error, open_app


@flow(name="empty-queue", persist_result=False, retries=RETRIES, retry_delay_seconds=RETRY_DELAY)
@fail_on_eas_error
def empty_queue(job_name: JobName = None, blocks: Blocks = None) -> dict[str, int]:
    """Withdraw all queued attempts from the job queue; their tasks wait until they are rescheduled.

    Running tasks continue. Returns the number of withdrawn attempts, by task type.
    """
    with open_app(blocks) as app:
        counts = control.empty_queue(app.database, app.queue, job_name=job_name or None)
        workers = {name: app.registry.task_types[name].worker_type for name in counts}
    for name, count in counts.items():
        get_run_logger().info("%d attempts withdrawn from the queue %s", count, name)
    rows = [(name, workers[name], count) for name, count in counts.items()]
    table = pd.DataFrame(rows, columns=["task_type", "worker_type", "attempts"])
    publish_table(table, "empty-queue-table", f"{sum(counts.values())} attempts withdrawn from the job queue.")
    return counts
