"""Drives jobs while Prefect's API is unavailable, using only the task database; Prefect displays nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import httpx
from prefect.settings import PREFECT_API_URL

from eas.app import App
from eas.orchestration.drive import Driver
from eas.orchestration.job_summary import summarise
from eas.orchestration.supervisor import Supervisor, SupervisorOptions
from eas.states import JobState

LOG = logging.getLogger("eas.flows")
CHECK_INTERVAL = 10.0
"""Interval between two checks whether Prefect's API is back [s]."""
REQUEST_TIMEOUT = 5.0


def drive(app: App, job_id: int, release: threading.Event, prefect_available: Callable[[], bool]) -> bool:
    """Drive a job until it has ended or paused, ``release`` is set, or ``prefect_available`` returns True.

    Returns whether the API is back and the job still needs a driver. If the job ends, its reports are
    written, without a summary in Prefect. Raises the errors of the driver.
    """
    prefect_available = _at_intervals(prefect_available)
    LOG.warning("job %d: Prefect's API is unavailable: driving the job without a flow run until it is back", job_id)
    with Driver(app.orchestrator(job_id), release) as driver:
        if driver.run(lambda _: prefect_available()):
            return True
    _report(app, job_id)
    return False


def supervise(app: App, prefect_available: Callable[[], bool], stop: threading.Event) -> None:
    """Run every unfinished job, as the supervisor does, until the API is back or ``stop`` is set.

    Raises ServiceError if the task database cannot be reached at the start.
    """
    leave = threading.Event()
    prefect_available = _at_intervals(prefect_available)

    def check() -> None:
        if stop.is_set() or prefect_available():
            leave.set()

    def run_job(job_id: int, release: threading.Event) -> None:
        drive(app, job_id, release, lambda: False)

    options = SupervisorOptions(heartbeat_lease=app.settings.lease)
    Supervisor(app.database, app.queue, run_job, options, stop=leave, check=check).run()


def _at_intervals(look: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function that calls ``look`` once in ``CHECK_INTERVAL``, and returns False in between."""
    due = time.monotonic() + CHECK_INTERVAL

    def answer() -> bool:
        nonlocal due
        if time.monotonic() < due:
            return False
        due = time.monotonic() + CHECK_INTERVAL
        return look()

    return answer


def prefect_answers() -> bool:
    """Whether Prefect's API answers; a temporary server's does."""
    url = PREFECT_API_URL.value()
    if not url:
        return True
    try:
        return httpx.get(f"{url}/health", timeout=REQUEST_TIMEOUT).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _report(app: App, job_id: int) -> None:
    """Write the reports of a finished job; errors are logged and do not fail the job."""
    from flows.job_summary import report_paths

    summary = summarise(app.database, job_id)
    if not JobState(summary.state).final:
        return
    try:
        report_paths(app.database, summary, app.settings.reports_directory / f"job_{job_id}", app.settings.web_url)
    except Exception as error:
        LOG.warning("the reports of job %d could not be written: %s", job_id, error, exc_info=True)
