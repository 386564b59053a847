"""The flow ``schedule-waiting-tasks``: the supervisor, which runs every job that nobody drives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Annotated, Any

from prefect import flow, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.states import Completed

from eas.app import App
from eas.control.summary import summarise
from eas.control.supervisor import Supervisor, SupervisorOptions
from eas.errors import EASError
from eas.states import JobState
from flows.automations import TAG
from flows.parameters import Blocks, described, open_app, told
from flows.run_chain import GIVE_BACK, run_chain
from flows.run_log import eas_log_shown


@flow(name="schedule-waiting-tasks", persist_result=False)
@told
def schedule_waiting_tasks(
    most_jobs: Annotated[int, described("So many jobs are run at once: by priority, then age.", ge=1, le=100)] = 8,
    until_idle: Annotated[
        float | None, described("Leave when there was no job to run for so long [s]; default: stay.", ge=0)
    ] = None,
    time_limit: Annotated[
        float | None, described("Leave after so long [s], giving the jobs back; default: stay.", ge=0)
    ] = None,
    max_task_runs: Annotated[
        int, described("Above so many leaf tasks of a job, one Prefect task run stands for a batch.", ge=1)
    ] = 1000,
    blocks: Blocks = None,
) -> Any:
    """Adopt every submitted or interrupted job that nobody drives, and run it as a flow of its own.

    Also finds attempts whose workers vanished. It starts no workers: `scale-workers` does. It may be
    killed and started again at any time; two at once do no harm.
    """
    with open_app(blocks) as app, eas_log_shown():
        options = SupervisorOptions(
            most_jobs=most_jobs, until_idle=until_idle, time_limit=time_limit, heartbeat_lease=app.settings.lease
        )
        account = Supervisor(app.database, app.queue, _runner(app, max_task_runs, blocks), options).run()
    message = f"{account.done} jobs done, {account.failed} failed, {account.cancelled} cancelled"
    get_run_logger().info(message)
    return Completed(message=message)


def _runner(app: App, max_task_runs: int, blocks: str | None) -> Callable[[int, threading.Event], None]:
    """Return what runs one job as a subflow, whichever thread calls it."""
    context = copy_context()  # of this flow run: a new thread has none

    def run(job_id: int, give_back: threading.Event) -> None:
        async def subflow() -> State[Any]:
            GIVE_BACK.set(give_back)
            # Its heartbeats are watched, too.
            with tags(TAG):
                return await run_chain(job_id=job_id, max_task_runs=max_task_runs, blocks=blocks, return_state=True)

        state = context.copy().run(asyncio.run, subflow())
        over = JobState(summarise(app.database, job_id).state).final
        if not over and state.is_failed():
            raise EASError(f"its flow run failed: {state.message}")

    return run
