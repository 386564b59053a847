"""The flow ``prune-database``: removes jobs that ended long ago."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger

from eas.operations import prune as pruning
from flows.parameters import RETRIES, RETRY_DELAY, Blocks, described, fail_on_eas_error, open_app
from reports.filters import parse_older_than


@flow(name="prune-database", persist_result=False, retries=RETRIES, retry_delay_seconds=RETRY_DELAY)
@fail_on_eas_error
def prune_database(
    older_than: Annotated[str, described("Age of a job's end (30d, 12h), or a time (2026-11-22T08:30).")],
    products: Annotated[bool, described("Also remove jobs with file products, and their stored files.")] = False,
    apply: Annotated[bool, described("Remove the jobs; otherwise only log what would be removed.")] = False,
    blocks: Blocks = None,
) -> Any:
    """Remove jobs that ended long ago, with their tasks, attempts and logs, and staging folders of killed workers.

    A job whose products another job has read or may read is kept. Returns what was or would be removed, as plain data.
    """
    with open_app(blocks) as app:
        before = parse_older_than(older_than, app.database.now(), "older_than")
        do = pruning.prune if apply else pruning.plan
        pruned = do(app.database, app.store, before, products=products)
    get_run_logger().info("%s: %s", "removed" if apply else "would be removed", pruned.message)
    return pruned.to_json()
