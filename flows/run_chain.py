"""The flow ``run-chain``: a JSON task chain as a dynamic Prefect flow."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, ExitStack
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from eas.app import App
from eas.chains.grammar import load_chain
from eas.control.local_workers import LocalWorkers
from eas.control.orchestrator import Orchestrator
from eas.control.plain_names import show_again
from eas.control.submit import SubmitOptions, submit
from eas.control.summary import Summary, summarise
from eas.errors import EASError
from eas.states import JobState
from flows.artifacts import artifact_key
from flows.job_progress import JobProgress
from flows.job_runs import mark
from flows.parameters import Blocks, described, open_app, refused
from flows.task_runs import TaskRuns

FIRST_WAIT = 0.02
LONGEST_WAIT = 0.25
"""How long the one watcher waits between two looks at what ended [s]."""

GIVE_BACK: ContextVar[threading.Event | None] = ContextVar("GIVE_BACK", default=None)
"""Set by who runs this flow within another one: the job is given back when the event is set."""

WRITTEN: ContextVar[list[Path]] = ContextVar("WRITTEN")
"""Set by who calls this flow as a function: the files that it writes are added to it."""


def _flow_run_name() -> str:
    parameters = runtime.flow_run.parameters
    if parameters.get("job_id"):
        return f"job {parameters['job_id']}"
    return Path(str(parameters.get("chain", "chain"))).stem


@flow(name="run-chain", flow_run_name=_flow_run_name, persist_result=False, log_prints=False)
async def run_chain(
    chain: Annotated[str | None, described("Path of the task chain, a JSON file, where this runs.")] = None,
    job_id: Annotated[int | None, described("Go on with this submitted or interrupted job instead.")] = None,
    job_name: Annotated[str | None, described("What the job is called; default: what the chain says.")] = None,
    if_exists: Annotated[
        Literal["fail", "reuse", "replace"], described("What to do where file products exist already.")
    ] = "fail",
    retries: Annotated[int, described("Further attempts of a task that failed.", ge=0)] = 0,
    seed: Annotated[str, described("Seed of all random numbers of the job.")] = "0",
    priority: Annotated[int, described("Jobs of higher priority are served first.", ge=-1000, le=1000)] = 0,
    workers: Annotated[int, described("Local worker processes to start for this run.", ge=0)] = 0,
    max_task_runs: Annotated[
        int, described("Above so many leaf tasks, one Prefect task run stands for a batch of them.", ge=1)
    ] = 1000,
    blocks: Blocks = None,
) -> State[Any]:
    """Run a JSON task chain to its end, through the EAS job queue.

    Give `chain` to submit a file, or `job_id` to go on with a job. The flow run fails if any task
    did not succeed; its result is the summary as plain data. Killing or cancelling the flow run does
    not end the job: the supervisor, or a run with its `job_id`, goes on with it (`cancel-job` ends it).
    """
    try:
        with await asyncio.to_thread(open_app, blocks) as app:
            # Before anything is submitted: it says whether they can write where products belong.
            local = await asyncio.to_thread(app.local_workers, workers) if workers else None
            if job_id is None:
                options = SubmitOptions(if_exists, retries, seed=seed, priority=priority, job_name=job_name or None)
                job_id = await asyncio.to_thread(_submit, app, chain, options)
            runs = TaskRuns(app.database, max_task_runs)
            summary = await _run(app, job_id, local, runs)
            get_run_logger().info("job %d: %s; %d Prefect task runs", job_id, summary.message, runs.opened)
            if JobState(summary.state).final:
                await _publish(app, summary)
    except EASError as error:
        return refused(error)
    return _state(summary)


def _state(summary: Summary) -> State[Any]:
    """Return the state in which the flow run ends."""
    message = f"job {summary.job_id}: {summary.message}"
    if summary.succeeded:
        return Completed(message=message, data=summary.to_json())
    if summary.state == JobState.CANCELLED:
        return Cancelled(message=message, data=summary.to_json())
    if not JobState(summary.state).final:
        return Cancelled(message=f"{message}; the job is not over", data=summary.to_json())
    return Failed(message=message, data=summary.to_json())


def _submit(app: App, chain: str | None, options: SubmitOptions) -> int:
    if not chain:
        raise EASError("neither a chain nor a job id was given", cure="give one of the two parameters")
    return submit(app.database, app.registry, load_chain(Path(chain)), options, to_drive=True)


async def _run(app: App, job_id: int, local: LocalWorkers | None, runs: TaskRuns) -> Summary:
    orchestrator = app.orchestrator(job_id)
    await asyncio.to_thread(orchestrator.open)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, orchestrator.close)
        await mark(job_id, orchestrator.job.name)
        if local is not None:
            await _start_workers(local, stack)
        await drive(orchestrator, runs, local)
    if local is not None:
        await asyncio.to_thread(show_again, app.database, app.store)
    return await asyncio.to_thread(summarise, app.database, job_id)


async def _start_workers(workers: LocalWorkers, stack: AsyncExitStack) -> None:
    local = ExitStack()
    stack.push_async_callback(asyncio.to_thread, local.close)
    await asyncio.to_thread(local.enter_context, workers)


async def drive(orchestrator: Orchestrator, runs: TaskRuns, local: LocalWorkers | None = None) -> None:
    """Advance a job until it is over or at rest, showing in Prefect what happens: one watcher for all who wait."""
    wait = FIRST_WAIT
    node_of = orchestrator.graph.nodes.__getitem__
    progress = JobProgress(orchestrator.job_id, orchestrator.job.name)
    reason = "this flow run does not follow the job any more"
    try:
        while not _over(orchestrator):
            events = await asyncio.to_thread(orchestrator.step)
            runs.plan_for(orchestrator.leaves)
            runs.take(events, node_of)
            await progress.show(orchestrator.graph.counts)
            if local is not None:
                local.check()
            wait = FIRST_WAIT if events else min(wait * 1.5, LONGEST_WAIT)
            if not orchestrator.finished:
                await asyncio.sleep(wait)
    except EASError as error:
        reason += f": {error.what}"
        raise
    finally:
        runs.abandon("the job was cancelled" if orchestrator.finished else reason)
        await runs.close()
    await progress.show(orchestrator.graph.counts, last=True)


def _over(orchestrator: Orchestrator) -> bool:
    stop = GIVE_BACK.get()
    return orchestrator.finished or orchestrator.resting or (stop is not None and stop.is_set())


async def _publish(app: App, summary: Summary) -> None:
    """Write the job's reports and publish its summary; the job is over, whatever comes of this."""
    from flows.job_summary import publishable

    folder = app.settings.reports_directory / f"job_{summary.job_id}"
    try:
        text, paths = await asyncio.to_thread(publishable, app.database, summary, folder)
        WRITTEN.get([]).extend(paths)
        key = artifact_key(f"job-{summary.job_name}-summary")
        await acreate_markdown_artifact(text, key=key, description=f"job {summary.job_id}: {summary.message}")
    except Exception as error:
        get_run_logger().warning("the job's summary could not be published: %s", error, exc_info=True)
