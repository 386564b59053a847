"""The flow ``run-chain``: a JSON task chain as a dynamic Prefect flow."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from eas.app import App
from eas.chains.grammar import load_chain
from eas.control.local_workers import LocalWorkers
from eas.control.orchestrator import Orchestrator
from eas.control.submit import SubmitOptions, submit
from eas.control.summary import Summary, summarise
from eas.errors import EASError
from flows.task_runs import TaskRuns

FIRST_WAIT = 0.02
LONGEST_WAIT = 0.25
"""How long the one watcher waits between two looks at what ended [s]."""


def _flow_run_name() -> str:
    parameters = runtime.flow_run.parameters
    if parameters.get("job_id"):
        return f"job {parameters['job_id']}"
    return Path(str(parameters.get("chain", "chain"))).stem


@flow(name="run-chain", flow_run_name=_flow_run_name, persist_result=False, log_prints=False)
async def run_chain(
    chain: Annotated[str | None, Field(description="Path of the task chain, a JSON file.")] = None,
    job_id: Annotated[int | None, Field(description="Go on with this submitted or interrupted job instead.")] = None,
    if_exists: Annotated[
        Literal["fail", "reuse", "replace"], Field(description="What to do where file products exist already.")
    ] = "fail",
    retries: Annotated[int, Field(ge=0, description="Further attempts of a task that failed.")] = 0,
    seed: Annotated[str, Field(description="Seed of all random numbers of the job.")] = "0",
    workers: Annotated[int, Field(ge=0, description="Local worker processes to start for this run.")] = 0,
    max_task_runs: Annotated[
        int, Field(ge=1, description="Above so many leaf tasks, one Prefect task run stands for a batch of them.")
    ] = 1000,
) -> State[Any]:
    """Run a JSON task chain to its end, through the EAS job queue.

    Give ``chain`` to submit a file, or ``job_id`` to go on with a job. The flow run fails if any
    task did not succeed; its result is the summary as plain data.
    """
    with App.load() as app:
        try:
            if job_id is None:
                options = SubmitOptions(if_exists=if_exists, retries=retries, seed=seed)
                job_id = await asyncio.to_thread(_submit, app, chain, options)
            summary = await _run(app, job_id, workers, max_task_runs)
        except EASError as error:
            return Failed(message=str(error))
    get_run_logger().info("job %d: %s", job_id, summary.message)
    outcome = Completed if summary.succeeded else Failed
    return outcome(message=f"job {job_id}: {summary.message}", data=summary.to_json())


def _submit(app: App, chain: str | None, options: SubmitOptions) -> int:
    if chain is None:
        raise EASError("neither a chain nor a job id was given", cure="give one of the two parameters")
    return submit(app.database, app.registry, load_chain(Path(chain)), options)


async def _run(app: App, job_id: int, workers: int, max_task_runs: int) -> Summary:
    orchestrator = app.orchestrator(job_id)
    await asyncio.to_thread(orchestrator.open)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, orchestrator.close)
        if workers:
            await _start_workers(app, workers, stack)
        await drive(orchestrator, TaskRuns(app.database, max_task_runs))
    return await asyncio.to_thread(summarise, app.database, job_id)


async def _start_workers(app: App, count: int, stack: AsyncExitStack) -> None:
    local = ExitStack()
    stack.push_async_callback(asyncio.to_thread, local.close)
    await asyncio.to_thread(local.enter_context, local_workers(app, count))


def local_workers(app: App, count: int) -> LocalWorkers:
    """Return ``count`` workers of this machine for every worker type that is installed, not started yet."""
    return LocalWorkers(
        count,
        app.registry.installed_worker_types(),
        database=app.database,
        queue=app.queue,
        environment=dict(os.environ) | app.settings.environment(),
        log_file=app.settings.data_directory / "logs" / "workers.log",
        lease=app.settings.lease,
    )


async def drive(orchestrator: Orchestrator, runs: TaskRuns) -> None:
    """Advance a job to its end, showing in Prefect what happens: one watcher for all who wait."""
    wait = FIRST_WAIT
    node_of = orchestrator.graph.nodes.__getitem__
    try:
        while True:
            events = await asyncio.to_thread(orchestrator.step)
            runs.plan_for(orchestrator.leaves)
            runs.take(events, node_of)
            if orchestrator.finished:
                break
            wait = FIRST_WAIT if events else min(wait * 1.5, LONGEST_WAIT)
            await asyncio.sleep(wait)
    except EASError as error:
        runs.abandon(f"this flow run does not follow the job any more: {error.what}")
        await runs.close()
        raise
    await runs.close()
