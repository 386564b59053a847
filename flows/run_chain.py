"""The flow ``run-chain``: a JSON task chain as a dynamic Prefect flow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from eas.app import App
from eas.errors import EASError
from eas.maintenance.publish import republish
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.orchestration.drive import COALESCE_WAIT, Driver, Step
from eas.orchestration.early_start import EarlyStart
from eas.orchestration.job_summary import JobSummary, summarise
from eas.orchestration.local_workers import LocalWorkers
from eas.orchestration.orchestrator import Event
from eas.plain_text import markdown
from eas.states import JobState
from flows import chain_parameter
from flows.artifacts import artifact_key
from flows.job_progress import JobProgress
from flows.job_runs import mark
from flows.parameters import Blocks, bounds, described, failed, open_app
from flows.task_run_events import flow_run_id
from flows.task_runs import TaskRuns

RELEASE_JOB: ContextVar[threading.Event | None] = ContextVar("RELEASE_JOB", default=None)
"""Set by a flow that runs this one as a subflow: the job's lease is released when the event is set.

Not a parameter of the flow, because Prefect stores parameters as JSON.
"""


@dataclass(frozen=True)
class HandOver:
    """A job that a process has started before Prefect was there, for the flow to drive on from where it is.

    ``task_runs_by_flow_run`` gets the task runs of each flow run that takes part, also of one that fails.
    """

    early: EarlyStart
    task_runs_by_flow_run: dict[UUID, TaskRuns] = field(default_factory=dict)


HAND_OVER: ContextVar[HandOver | None] = ContextVar("HAND_OVER", default=None)
"""Set by a process that hands a job over to the flow. No parameter, for the same reason."""


def _flow_run_name() -> str:
    parameters = runtime.flow_run.parameters
    if parameters.get("job_id"):
        return f"job {parameters['job_id']}"
    return chain_parameter.title(parameters.get("chain"))


@flow(name="run-chain", flow_run_name=_flow_run_name, persist_result=False, log_prints=False)
async def run_chain(
    chain: Annotated[
        dict[str, Any] | str | None,
        described("The task chain itself (JSON), the path of a file where this runs, or a URL that fsspec can read."),
    ] = None,
    job_id: Annotated[int | None, described("Resume this submitted or interrupted job instead.")] = None,
    job_name: Annotated[str | None, described("The job's name; default: the chain's.")] = None,
    if_exists: Annotated[
        Literal["fail", "reuse", "replace"], described("Action if file products exist already.")
    ] = "fail",
    retries: Annotated[int, described("Further attempts of a task that failed.", **bounds("retries"))] = 0,
    backoff: Annotated[
        float, described("Wait before the first retry [s]; doubled for each further one.", **bounds("backoff"))
    ] = 1.0,
    max_stalls: Annotated[
        int | None,
        described(
            "Further attempts of a task whose worker vanished; default: EAS_MAX_STALLS, or 5.", **bounds("max_stalls")
        ),
    ] = None,
    seed: Annotated[
        str | None,
        described("Seed of all random numbers; default: a new one, or with `reuse` that of the job that is reused."),
    ] = None,
    priority: Annotated[int, described("Jobs of higher priority are served first.", **bounds("priority"))] = 0,
    workers: Annotated[int, described("Local worker processes to start for this run.", ge=0)] = 0,
    max_task_runs: Annotated[
        int, described("Above this number of leaf tasks, a Prefect task run represents a batch of them.", ge=1)
    ] = 1000,
    blocks: Blocks = None,
) -> State[Any]:
    """Run a JSON task chain to its end, through the EAS job queue.

    Give `chain` to submit one, or `job_id` to resume a job. The flow run fails if any task
    did not succeed; its result is the summary as plain data. Killing or cancelling the flow run does
    not end the job: the supervisor, or a run with its `job_id`, continues it (`cancel-job` ends it).
    """
    try:
        with await asyncio.to_thread(open_app, blocks) as app:
            # Checked before anything is submitted: the store must be writable.
            early = _current_early_start()
            local = await asyncio.to_thread(app.local_workers, workers) if workers and early is None else None
            if job_id is None:
                options = SubmitOptions(
                    if_exists=if_exists,
                    retries=retries,
                    backoff=backoff,
                    seed=seed or None,
                    priority=priority,
                    job_name=job_name or None,
                    max_stalls=app.settings.max_stalls if max_stalls is None else max_stalls,
                )
                job_id = await asyncio.to_thread(_submit, app, chain, options)
            runs = TaskRuns(app.database, max_task_runs, app.settings.lease, app.settings.web_url)
            _share_task_runs(runs)
            summary = await _run(app, job_id, early, local, runs)
            get_run_logger().info("job %d: %s; %d Prefect task runs", job_id, summary.message, runs.opened)
            reports = await _publish(app, summary) if JobState(summary.state).final else []
    except EASError as error:
        return failed(error)
    return _state(summary, reports)


def _state(summary: JobSummary, reports: list[Path]) -> State[Any]:
    """Return the state in which the flow run ends; its data are the job's summary, and the paths of its reports."""
    message = f"job {summary.job_id}: {summary.message}"
    data = summary.to_json() | {"reports": [str(path) for path in reports]}
    if summary.succeeded:
        return Completed(message=message, data=data)
    if summary.state == JobState.CANCELLED:
        return Cancelled(message=message, data=data)
    if not JobState(summary.state).final:
        return Cancelled(message=f"{message}; the job is not finished", data=data)
    return Failed(message=message, data=data)


def _submit(app: App, chain: dict[str, Any] | str | None, options: SubmitOptions) -> int:
    return submit(app.database, app.registry, chain_parameter.read(chain, app), options, to_drive=True)


def _current_early_start() -> EarlyStart | None:
    """Return the early start to go on from; None also where an earlier run of the flow took it."""
    handed = HAND_OVER.get()
    return None if handed is None or handed.early.taken else handed.early


def _share_task_runs(runs: TaskRuns) -> None:
    handed, run = HAND_OVER.get(), flow_run_id()
    if handed is not None and run is not None:
        handed.task_runs_by_flow_run[run] = runs


async def _run(
    app: App, job_id: int, early: EarlyStart | None, local: LocalWorkers | None, runs: TaskRuns
) -> JobSummary:
    async with AsyncExitStack() as stack:
        if early is not None:
            stack.push_async_callback(asyncio.to_thread, early.close)
            driver, local = early.driver, early.workers
            await mark(job_id, driver.orchestrator.job.name)
            await drive(driver, runs, local, await asyncio.to_thread(early.take_over))
        else:
            driver = Driver(app.orchestrator(job_id), RELEASE_JOB.get())
            await asyncio.to_thread(driver.open)
            stack.push_async_callback(asyncio.to_thread, driver.close)
            await mark(job_id, driver.orchestrator.job.name)
            if local is not None:
                await _start_workers(local, stack)
            await drive(driver, runs, local)
    if local is not None:
        await asyncio.to_thread(republish, app.database, app.store)
    return await asyncio.to_thread(summarise, app.database, job_id)


async def _start_workers(workers: LocalWorkers, stack: AsyncExitStack) -> None:
    local = ExitStack()
    stack.push_async_callback(asyncio.to_thread, local.close)
    await asyncio.to_thread(local.enter_context, workers)


async def drive(
    driver: Driver, runs: TaskRuns, local: LocalWorkers | None = None, before: Sequence[Event] = ()
) -> None:
    """Drive a job until it has ended or paused, and show its progress in Prefect.

    A step runs in a thread, as it waits for SQL; it is awaited before the graph is read here.
    ``before``: events from before this flow drove the job.
    """
    orchestrator = driver.orchestrator
    node_of = orchestrator.graph.nodes.__getitem__
    progress = JobProgress(orchestrator.job_id, orchestrator.job.name, runs.web_url)
    reason = "this flow run no longer drives the job"
    missed = Step(list(before), 0.0) if before else None
    try:
        while (step := missed or await asyncio.to_thread(driver.step)) is not None:
            missed = None
            if step.events:
                runs.plan_for(orchestrator.graph.expected_leaves())
                runs.take(step.events, node_of, await asyncio.to_thread(runs.read, step.events))
            if orchestrator.graph.in_flight and (seen := await asyncio.to_thread(runs.look, orchestrator.job_id)):
                runs.follow(seen, node_of)
            await progress.show(orchestrator.graph.counts, runs.warnings)
            if local is not None:
                local.check()
            _raise_if_cancelled()
            await _wait(driver, step)
    except EASError as error:
        reason += f": {error.what}"
        raise
    finally:
        runs.abandon("the job was cancelled" if orchestrator.finished else reason, node_of)
        await runs.close()
    await progress.show(orchestrator.graph.counts, last=True)


def _raise_if_cancelled() -> None:
    """Raise CancelledError if the task was cancelled before, as by Ctrl-C, and the cancellation was dropped.

    Libraries drop one that meets the end of what they wait for, or that they take for one of their own.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _wait(driver: Driver, step: Step) -> None:
    """Like ``Driver.wait``, but without a thread, because one process may drive many jobs."""
    await asyncio.sleep(min(step.wait, COALESCE_WAIT))
    if step.wait <= COALESCE_WAIT:
        return
    loop, woken, listener = asyncio.get_running_loop(), asyncio.Event(), driver.listener
    loop.add_reader(listener.fileno(), woken.set)
    try:
        # Not asyncio.wait_for: that of Python 3.11 drops a cancellation, such as of Ctrl-C, that meets a wake-up.
        with suppress(TimeoutError):
            async with asyncio.timeout(step.wait - COALESCE_WAIT):
                await woken.wait()
    finally:
        loop.remove_reader(listener.fileno())
    listener.clear()


async def _publish(app: App, summary: JobSummary) -> list[Path]:
    """Write the job's reports and publish its summary; return the files. Errors are logged and do not fail the job."""
    from flows.job_summary import report_paths

    paths: list[Path] = []
    folder = app.settings.reports_directory / f"job_{summary.job_id}"
    try:
        text, paths = await asyncio.to_thread(report_paths, app.database, summary, folder, app.settings.web_url)
        key = artifact_key(f"job-{summary.job_name}-summary")
        await acreate_markdown_artifact(text, key=key, description=f"job {summary.job_id}: {markdown(summary.message)}")
    except Exception as error:
        get_run_logger().warning("the job's summary could not be published: %s", error, exc_info=True)
    return paths
