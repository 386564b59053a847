"""``eas run``: submit a chain (or resume a job), run it with local workers, and wait."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.console import Console

from eas.app import App
from eas.chains.grammar import load_chain
from eas.cli.display import JobDisplay, summary_table
from eas.cli.interrupts import recorded_interrupts
from eas.cli.options import json_option, options_of, print_json, submit_options
from eas.cli.output import echo
from eas.cli.prefect_client import require_server
from eas.cli.terminal import Terminal
from eas.errors import EASError, RequestError, ServiceError
from eas.operations import plan as planning
from eas.operations import submit as submission
from eas.orchestration.drive import Driver
from eas.orchestration.early_start import EarlyStart
from eas.orchestration.job_summary import JobSummary, summarise
from eas.orchestration.reservation import Reservation
from eas.plain_text import one_line
from eas.states import JobState
from eas.taskdb import jobs
from eas.taskdb.queries import job_selection, outcomes
from flows.local_server import LocalServer

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from flows.run_chain import HandOver

SHOWN_FAILURES = 20
PREFECT_PAUSES = (0, 2, 5, 10, 20)
"""Waits before each try to start the flow [s]: a Prefect server with sqlite returns 503 when it is busy."""


class _Request(NamedTuple):
    """How to run a job: number of local workers, URL of the configured Prefect server or "", no progress display."""

    workers: int
    server: str
    quiet: bool


@click.command()
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--resume", type=int, metavar="JOB", help="Resume this submitted or interrupted job instead.")
@click.option("--workers", type=click.IntRange(0, 1000), help="Local workers to start; default: one for each CPU.")
@click.option(
    "--max-task-runs",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Above this number of tasks, a Prefect task run represents a batch of them.",
)
@submit_options
@json_option
def run(file: Path | None, resume: int | None, workers: int | None, max_task_runs: int, as_json: bool,
        **values: Any) -> int:  # fmt: skip
    """Run a task chain to its end with local workers, as a Prefect flow, and wait for it.

    Starts a local Prefect server if none is configured, and keeps it for the next run (eas server).
    Exits with 1 if a task did not succeed. --resume continues an interrupted run: tasks that are done do
    not run again.
    """
    console = Terminal(stderr=as_json)
    reports: list[Path] = []
    with App.load() as app:
        count = workers if workers is not None else (os.cpu_count() or 1)
        if count and file is not None:
            app.store.check()  # before anything is submitted
        # Report an unreachable server before anything is submitted.
        server = require_server(lambda text: console.print(text, highlight=False, soft_wrap=True))
        job_id = _job(app, file, resume, values)
        summary = summarise(app.database, job_id)
        if not JobState(summary.state).final:
            console.print(
                f"job {job_id} ({summary.job_name}), seed {summary.seed}; "
                f"to continue after an interruption: eas run --resume {job_id}",
                highlight=False,
                soft_wrap=True,
            )
            start = _flow_of(job_id, summary.job_name, count, max_task_runs)
            with _resumable(job_id):
                summary, reports = _run(app, job_id, console, start, _Request(count, server, as_json))
        reports = reports or _reports(app, job_id)
        found = app.database.fetch(lambda connection: outcomes.counts(connection, job_id))
        if as_json:
            print_json(summary.to_json() | {"outcomes": found, "reports": [str(path) for path in reports]})
        else:
            _show(summary, found, reports, console)
    return 0 if summary.succeeded else 1


def _job(app: App, file: Path | None, resume: int | None, values: dict[str, Any]) -> int:
    """Submit the chain, or look up the job to resume; return its id."""
    if (file is None) == (resume is None):
        raise RequestError("give either a FILE or --resume JOB", hint="eas run demo_jobs/detection_limit.json")
    if resume is not None:
        with app.database.read() as connection:
            return int(jobs.get(connection, resume).id)
    assert file is not None
    options = options_of(values, app.settings.max_stalls)
    chain = load_chain(file, app.registry)
    # Before the task database is opened, which creates it: a chain that cannot run here leaves no trace.
    planning.require_installed(planning.plan_chain(chain, app.registry, options), app.registry)
    return submission.submit(app.database, app.registry, chain, options, to_drive=True)


def _flow_of(job_id: int, name: str, workers: int, max_task_runs: int) -> Callable[[], Coroutine[Any, Any, State[Any]]]:
    """Return a function that starts the flow ``run-chain`` for a job; Prefect is imported when it is called."""

    async def flow() -> State[Any]:
        from prefect import tags

        from flows.automations import TAG
        from flows.run_chain import run_chain

        named = run_chain.with_options(flow_run_name=f"{one_line(name)} (job {job_id})")
        with tags(TAG):
            return await named(job_id=job_id, workers=workers, max_task_runs=max_task_runs, return_state=True)

    return flow


@contextmanager
def _resumable(job_id: int) -> Iterator[None]:
    """Add the command that continues the job to each error that leaves it unfinished."""
    resume = f"eas run --resume {job_id}"
    try:
        yield
    except EASError as error:
        if resume not in error.hint:
            error.hint = f"{error.hint}; then continue the job: {resume}" if error.hint else resume
        raise
    except Exception:
        # The traceback of an unexpected error follows.
        echo(f"job {job_id} has not ended; to continue: {resume}", err=True)
        raise


def _run(
    app: App, job_id: int, console: Console, flow: Callable[[], Coroutine[Any, Any, State[Any]]], request: _Request
) -> tuple[JobSummary, list[Path]]:
    """Run the job; return its summary, and the report files that the flow wrote.

    Workers and orchestrator start at once; the flow takes the job over when Prefect has started.
    """
    try:
        with ExitStack() as stack:
            interrupts = stack.enter_context(recorded_interrupts())
            stack.enter_context(Reservation(app.database, job_id))
            stack.enter_context(JobDisplay(app.database, job_id, console, quiet=request.quiet))
            server = None if request.server else stack.enter_context(_local_server(app, console))
            workers = app.local_workers(request.workers) if request.workers else None
            early = stack.enter_context(EarlyStart(Driver(app.orchestrator(job_id)), workers))
            state = _run_with_display(app, early, lambda: interrupts.run(flow), server, console)
    except KeyboardInterrupt:
        console.print(f"interrupted; to continue: eas run --resume {job_id}", highlight=False)
        raise
    summary = summarise(app.database, job_id)
    if not JobState(summary.state).final:
        why = f": {state.message}" if state is not None else ""
        raise EASError(f"job {job_id} has not ended{why}", hint=_resume_hint(app, job_id))
    result = state.result(raise_on_failure=False) if state is not None else None
    return summary, [Path(path) for path in result["reports"]] if isinstance(result, dict) else []


def _run_with_display(
    app: App,
    early: EarlyStart,
    flow: Callable[[], State[Any]],
    server: LocalServer | None,
    console: Console,
) -> State[Any] | None:
    """Run the flow, which takes the job over; if the local server does not start, run the job without a flow."""
    # The terminal shows the progress table instead of logs; the runs' logs still go to the server.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # The server's automation marks a flow run without heartbeats as crashed.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    from flows.run_chain import HAND_OVER, HandOver

    handed = HandOver(early)
    HAND_OVER.set(handed)
    try:
        if server is None:
            return _with_retries(app, early.driver.orchestrator.job_id, flow)
        if server.ready() is None:
            _preload_reports(app, early.driver.orchestrator.job_id)  # while Prefect starts
        address = server.wait()
    except ServiceError as error:
        if server is None or early.taken:
            raise
        console.print(f"the job runs without Prefect: {error}", highlight=False, soft_wrap=True)
        early.finish()
        return None
    return _on_local_server(app, handed, flow, address.url, console)


def _on_local_server(
    app: App, handed: HandOver, flow: Callable[[], State[Any]], url: str, console: Console
) -> State[Any] | None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.task_run_events import wait_until_recorded

    console.print(f"Prefect UI: {url.removesuffix('/api')}", highlight=False)
    with temporary_settings({PREFECT_API_URL: url}):
        try:
            return _with_retries(app, handed.early.driver.orchestrator.job_id, flow)
        finally:
            wait_until_recorded({run: shown.opened for run, shown in handed.task_runs_by_flow_run.items()})


@contextmanager
def _local_server(app: App, console: Console) -> Iterator[LocalServer]:
    """Start the Prefect server of the home folder, without waiting for it; use it until the block ends."""
    server = LocalServer(app.settings.home / "prefect", app.settings.server_idle)
    with server.used():
        if server.start():
            console.print(
                "starting a local Prefect server, because PREFECT_API_URL is not set; tasks do not wait for it",
                highlight=False,
                soft_wrap=True,
            )
        yield server


def _resume_hint(app: App, job_id: int) -> str:
    resume = f"eas run --resume {job_id}"
    held = app.database.fetch(lambda connection: job_selection.withdrawn_tasks(connection, job_id)).tasks
    return f"eas reschedule --job-id {job_id} puts {held} withdrawn tasks back; then {resume}" if held else resume


def _with_retries(app: App, job_id: int, flow: Callable[[], State[Any]]) -> State[Any] | None:
    """Run the flow, and run it again if Prefect's server is too busy; the job continues where it was.

    Returns the flow's state, or None if the server failed after the job had ended. Raises ServiceError.
    """
    from httpx import HTTPError
    from prefect.exceptions import PrefectHTTPStatusError

    for pause in PREFECT_PAUSES:
        time.sleep(pause)
        try:
            return flow()
        except (HTTPError, PrefectHTTPStatusError) as error:
            if app.database.fetch(lambda connection: jobs.state_of(connection, job_id)).final:
                return None
            problem = str(error).splitlines()[0]
    raise ServiceError(f"the Prefect server rejects the run: {problem}", hint=f"later: eas run --resume {job_id}")


def _preload_reports(app: App, job_id: int) -> None:
    """Import the reports' libraries while the job runs."""
    from reports.job_reports import preload

    preload(app.database.fetch(lambda connection: str(jobs.get(connection, job_id).chain)))


def _reports(app: App, job_id: int) -> list[Path]:
    from reports.job_reports import write_job_reports

    return write_job_reports(app.database, job_id, app.settings.reports_directory / f"job_{job_id}")


def _hints(summary: JobSummary) -> Iterator[str]:
    """Yield hints about a job that did not succeed: its settings are stored, so wrong ones need a new job."""
    job = summary.job_id
    if summary.state == JobState.FAILED:
        file = shlex.quote(summary.source) if Path(summary.source).is_file() else "FILE"
        yield f"to correct the chain: edit it; eas run {file} --if-exists reuse (keeps what was made the same way)"
    yield f"to run the same tasks again: eas reschedule --job-id {job}; eas run --resume {job}"


def _show(summary: JobSummary, found: Mapping[str, Mapping[str, int]], reports: list[Path], console: Console) -> None:
    console.print(summary_table(summary, found, console.width))
    for failure in summary.failures[:SHOWN_FAILURES]:
        reason = failure.explanation or "see `eas report errors`"
        line = f"{failure.state}: task {failure.task_id}, {failure.label}: {reason}"
        console.print(line, style="red", highlight=False, soft_wrap=True)
    if len(summary.failures) > SHOWN_FAILURES:
        console.print(f"... and {len(summary.failures) - SHOWN_FAILURES} more: eas report errors", highlight=False)
    if not summary.succeeded:
        for line in _hints(summary):
            console.print(line, highlight=False, soft_wrap=True)
    for path in reports:
        console.print(str(path), highlight=False, soft_wrap=True)
