"""The flow ``empty-queue``: nothing that is queued is to run for now."""

from __future__ import annotations

import pandas as pd
from prefect import flow, get_run_logger

from eas.control import empty_queue as control
from flows.artifacts import publish_table
from flows.parameters import Blocks, JobName, open_app, told


@flow(name="empty-queue", persist_result=False)
@told
def empty_queue(job_name: JobName = None, blocks: Blocks = None) -> dict[str, int]:
    """Take all queued attempts off the job queue; their tasks wait until they are rescheduled.

    What runs goes on. Returns how many were taken off, by task type.
    """
    with open_app(blocks) as app:
        counts = control.empty_queue(app.database, app.queue, job_name=job_name or None)
        workers = {name: app.registry.task_types[name].worker_type for name in counts}
    for name, count in counts.items():
        get_run_logger().info("%d attempts taken off the queue %s", count, name)
    rows = [(name, workers[name], count) for name, count in counts.items()]
    table = pd.DataFrame(rows, columns=["task_type", "worker_type", "attempts"])
    publish_table(table, "empty-queue-table", f"{sum(counts.values())} attempts taken off the job queue.")
    return counts
