"""The flow ``schedule-waiting-tasks``: the supervisor, which runs every unfinished job without a driver."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import copy_context
from typing import Annotated, Any

from httpx import HTTPError
from prefect import flow, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.states import Completed

from eas import metrics
from eas.app import App
from eas.errors import EASError, ServiceError
from eas.orchestration.drive import RunJob
from eas.orchestration.supervisor import Supervisor, SupervisorOptions
from eas.taskdb import jobs
from flows import without_prefect
from flows.automations import TAG
from flows.parameters import Blocks, described, fail_on_eas_error, open_app
from flows.progress_table import ProgressTable, kept_up_to_date
from flows.run_chain import RELEASE_JOB, run_chain
from flows.run_log import forward_logs_to_flow_run
from flows.without_prefect import prefect_answers

LOG = logging.getLogger("eas.flows")


@flow(name="schedule-waiting-tasks", flow_run_name="supervisor", persist_result=False)
@fail_on_eas_error
def schedule_waiting_tasks(
    most_jobs: Annotated[int, described("Number of jobs that run at once: by priority, then age.", ge=1, le=100)] = 8,
    until_idle: Annotated[
        float | None, described("Exit after this time without a job to run [s]; default: keep running.", ge=0)
    ] = None,
    time_limit: Annotated[
        float | None, described("Release the jobs and exit after this time [s]; default: keep running.", ge=0)
    ] = None,
    max_task_runs: Annotated[
        int, described("Above this number of leaf tasks, a Prefect task run represents a batch of them.", ge=1)
    ] = 1000,
    metrics_port: Annotated[
        int | None, described("Serve metrics for Prometheus at this port; default: none.", ge=0, le=65535)
    ] = None,
    metrics_host: Annotated[str, described("Listen address of the metrics; default: this machine only.")] = (
        metrics.LOOPBACK
    ),
    blocks: Blocks = None,
) -> Any:
    """Run every submitted or interrupted job that no process drives, as a subflow.

    Also finds attempts whose workers were lost. Workers are started by `scale-workers`. The flow may be
    killed and restarted at any time. Without `until_idle` and `time_limit` it keeps running even if
    Prefect's API fails, and waits while another supervisor is active. While the API is unavailable,
    jobs run without a flow run.
    """
    with open_app(blocks) as app, forward_logs_to_flow_run():
        options = SupervisorOptions(
            max_jobs=most_jobs,
            until_idle=until_idle,
            time_limit=time_limit,
            heartbeat_lease=app.settings.lease,
            stand_by=until_idle is None and time_limit is None,
        )
        supervisor = Supervisor(app.database, app.queue, _runner(app, max_task_runs, blocks), options)
        table = kept_up_to_date(ProgressTable(app.database, app.settings.lease), lambda: supervisor.active)
        with table, metrics.endpoint(app.database, app.settings.lease, metrics_port, metrics_host):
            stats = supervisor.run()
    message = f"{stats.done} jobs done, {stats.failed} failed, {stats.cancelled} cancelled"
    get_run_logger().info(message)
    return Completed(message=message)


def _runner(app: App, max_task_runs: int, blocks: str | None) -> RunJob:
    """Return a function that runs one job as a subflow, or without one while Prefect's API is unavailable.

    Any thread may call it.
    """
    context = copy_context()  # of this flow run: a new thread has none

    def shown(job_id: int, release: threading.Event) -> State[Any] | None:
        """Run a job as a subflow; None where Prefect cannot run one."""

        async def subflow() -> State[Any]:
            RELEASE_JOB.set(release)
            # The tag lets the automation monitor its heartbeats.
            with tags(TAG):
                return await run_chain(job_id=job_id, max_task_runs=max_task_runs, blocks=blocks, return_state=True)

        try:
            return context.copy().run(asyncio.run, subflow())
        except Exception as error:  # an error of Prefect: errors of the flow are in its state
            LOG.warning("job %d: Prefect cannot run a flow for it: %s", job_id, error)
            return None

    def over(job_id: int) -> bool:
        return app.database.fetch(lambda connection: jobs.state_of(connection, job_id)).final

    def run(job_id: int, release: threading.Event) -> None:
        while True:
            state = shown(job_id, release) if prefect_answers() else None
            if state is None and not over(job_id):
                if without_prefect.drive(app, job_id, release, prefect_answers):
                    continue
            elif state is not None and not over(job_id):
                raise_error_of(state)
            return

    return run


def raise_error_of(state: State[Any]) -> None:
    """Raise the error that a subflow ended with, if any; an outage, which the job did not cause, as ServiceError."""
    if state.is_crashed():
        raise ServiceError(f"its flow run crashed: {state.message}")
    if not state.is_failed():
        return
    error = state.result(raise_on_failure=False)
    if isinstance(error, EASError):
        raise error
    if isinstance(error, HTTPError):
        raise ServiceError(f"Prefect's API failed: {error}") from error
    raise EASError(f"its flow run failed: {state.message}")
