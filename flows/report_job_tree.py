"""The flow ``report-job-tree``: jobs as trees of tasks."""

from __future__ import annotations

import json
from typing import Annotated

from prefect import flow

from flows.parameters import Blocks, JobName, Since, TaskType, described, fail_on_eas_error
from flows.report_output import report
from reports import assemble
from reports.files import write_bytes
from reports.tree import tree_lines


@flow(name="report-job-tree", persist_result=False)
@fail_on_eas_error
def report_job_tree(
    job_name: JobName = None,
    task_type: TaskType = None,
    since: Since = None,
    max_depth: Annotated[int, described("Maximum depth; the job itself has depth 0.", ge=0)] = 5,
    running_only: Annotated[bool, described("Only branches with queued or running tasks.")] = False,
    blocks: Blocks = None,
) -> str:
    """Write and publish jobs as trees, with counts by state at each node.

    Returns the path of the latest text file; the same folder has a JSON version. ``since``: jobs that had
    not ended before it.
    """
    with report("job_tree", job_name, task_type, since, blocks) as out:
        roots = assemble.job_tree(out.connection, out.filters, max_depth, running_only=running_only)
    data = json.dumps([root.to_json() for root in roots], indent=2, ensure_ascii=False)
    dated_json, latest_json = out.paths(suffix=".json")
    out.finish(write_bytes(dated_json, data.encode()), latest_json)
    drawn = list(tree_lines(roots))
    dated, latest = out.paths(suffix=".txt")
    write_bytes(dated, "".join(f"{line}\n" for line in drawn).encode())
    out.publish_text("\n".join(["# Jobs", "", *(f"    {line}" for line in drawn)]))
    return str(out.finish(dated, latest))
