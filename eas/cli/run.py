"""``eas run``: submit a chain (or go on with a job), run it with local workers, and wait."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from eas.app import App
from eas.chains.grammar import load_chain
from eas.cli.display import JobDisplay, summary_table
from eas.cli.options import json_option, options_of, print_json, submit_options
from eas.control import submit as submission
from eas.control.summary import Summary, summarise
from eas.errors import EASError, RequestError, ServiceError
from eas.states import JobState
from eas.taskdb import jobs, operations

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

SHOWN_FAILURES = 20
PREFECT_PAUSES = (0, 2, 5, 10, 20)
"""Waits before each try to start the flow [s]: a server on sqlite answers 503 while it is busy."""


@click.command()
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--resume", type=int, metavar="JOB", help="Go on with a submitted or interrupted job instead.")
@click.option("--workers", type=click.IntRange(0, 1000), help="Local workers to start; default: one for each CPU.")
@click.option(
    "--max-task-runs",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Above so many tasks, one Prefect task run stands for a batch.",
)
@submit_options
@json_option
def run(file: Path | None, resume: int | None, workers: int | None, max_task_runs: int, as_json: bool,
        **values: Any) -> int:  # fmt: skip
    """Run a task chain to its end with local workers, as a Prefect flow, and wait for it.

    Starts a temporary Prefect server where none is configured. Exits with 1 if a task did not
    succeed. A run that was killed goes on with --resume: what is done is not run again.
    """
    console = Console(stderr=as_json)
    written: list[Path] = []
    with App.load() as app:
        count = workers if workers is not None else (os.cpu_count() or 1)
        if count and file is not None:
            app.store.check()  # before anything is submitted
        job_id = _job(app, file, resume, values)
        summary = summarise(app.database, job_id)
        if not JobState(summary.state).final:
            console.print(
                f"job {job_id} ({summary.job_name}); if this is interrupted: eas run --resume {job_id}",
                highlight=False,
                soft_wrap=True,
            )
            summary = _run(app, job_id, summary.job_name, console, count, max_task_runs, written, quiet=as_json)
        reports = written or _reports(app, job_id)
        if as_json:
            print_json(summary.to_json() | {"reports": [str(path) for path in reports]})
        else:
            _show(summary, reports, console)
    return 0 if summary.succeeded else 1


def _job(app: App, file: Path | None, resume: int | None, values: dict[str, Any]) -> int:
    """Return the job to run: a new one, or one that is there."""
    if (file is None) == (resume is None):
        raise RequestError("give either a FILE or --resume JOB", cure="eas run demo_jobs/detection_limit.json")
    if resume is not None:
        with app.database.read() as connection:
            return int(jobs.get(connection, resume).id)
    assert file is not None
    options = options_of(values, app.settings.max_stalls)
    chain = load_chain(file, app.registry)
    submission.require_installed(submission.plan_chain(chain, app.registry, options), app.registry)
    return submission.submit(app.database, app.registry, chain, options, to_drive=True)


def _run(
    app: App,
    job_id: int,
    name: str,
    console: Console,
    workers: int,
    max_task_runs: int,
    written: list[Path],
    *,
    quiet: bool,
) -> Summary:
    """Run the flow and return what became of the job; the files that the flow writes are added to ``written``."""
    try:
        with ExitStack() as stack:
            stack.enter_context(_prefect_server(app, console))
            _preload_reports()
            stack.enter_context(JobDisplay(app.database, job_id, console, quiet=quiet))
            from prefect import tags

            from flows.automations import TAG
            from flows.run_chain import WRITTEN, run_chain

            WRITTEN.set(written)
            named = run_chain.with_options(flow_run_name=f"{name} (job {job_id})")

            async def flow() -> State[Any]:
                with tags(TAG):
                    return await named(job_id=job_id, workers=workers, max_task_runs=max_task_runs, return_state=True)

            state = _patiently(app, job_id, flow)
    except KeyboardInterrupt:
        console.print(f"interrupted; nothing is lost: eas run --resume {job_id}", highlight=False)
        raise
    summary = summarise(app.database, job_id)
    if state is not None and not JobState(summary.state).final:
        raise EASError(f"job {job_id} is not over: {state.message}", cure=_how_to_go_on(app, job_id))
    return summary


def _how_to_go_on(app: App, job_id: int) -> str:
    resume = f"eas run --resume {job_id}"
    held = app.database.fetch(lambda connection: operations.held(connection, job_id)).tasks
    return (
        f"eas reschedule --job-id {job_id} puts {held} tasks back that were taken off; then {resume}"
        if held
        else resume
    )


def _patiently(app: App, job_id: int, flow: Callable[[], Coroutine[Any, Any, State[Any]]]) -> State[Any] | None:
    """Run the flow; where Prefect's server is too busy to take it, try again: the job goes on where it was.

    Returns its state, or None where the server failed once the job was over. Raises ServiceError.
    """
    from httpx import HTTPError
    from prefect.exceptions import PrefectHTTPStatusError

    for pause in PREFECT_PAUSES:
        time.sleep(pause)
        try:
            return asyncio.run(flow())
        except (HTTPError, PrefectHTTPStatusError) as error:
            if JobState(summarise(app.database, job_id).state).final:
                return None
            problem = str(error).splitlines()[0]
    raise ServiceError(f"the Prefect server cannot take the run: {problem}", cure=f"eas run --resume {job_id}, later")


@contextmanager
def _prefect_server(app: App, console: Console) -> Iterator[None]:
    """Use the Prefect server that is configured, or have a temporary one for as long as this lasts."""
    # Our display tells what happens; the runs' logs go to the server all the same.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # The server's automation takes a flow run without heartbeats for dead.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    from flows.temporary_server import temporary_server

    with temporary_server(app.settings.home / "prefect") as url:
        console.print(f"Prefect UI while this runs: {url.removesuffix('/api')}", highlight=False)
        with temporary_settings({PREFECT_API_URL: url}):
            yield


def _preload_reports() -> None:
    """Import what the reports need while the job runs."""
    from reports.job_reports import preload

    preload()


def _reports(app: App, job_id: int) -> list[Path]:
    from reports.job_reports import write_job_reports

    return write_job_reports(app.database, job_id, app.settings.reports_directory / f"job_{job_id}")


def _show(summary: Summary, reports: list[Path], console: Console) -> None:
    console.print(summary_table(summary))
    for failure in summary.failures[:SHOWN_FAILURES]:
        reason = failure.reason.strip().splitlines()[0] if failure.reason.strip() else "see `eas report errors`"
        line = f"{failure.state}: task {failure.task_id}, {failure.label}: {reason}"
        console.print(line, style="red", highlight=False, soft_wrap=True, markup=False)
    if len(summary.failures) > SHOWN_FAILURES:
        console.print(f"... and {len(summary.failures) - SHOWN_FAILURES} more: eas report errors", highlight=False)
    for path in reports:
        console.print(str(path), highlight=False, soft_wrap=True)
