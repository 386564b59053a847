"""What flows do while Prefect's API or a service is away: wait, be retried by Prefect, or do without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings

from eas.app import App
from eas.errors import ServiceError
from eas.orchestration.job_summary import summarise
from eas.states import TaskState
from eas.taskdb import service_lease
from flows import cancel_job as cancel_flow
from flows import empty_queue as empty_flow
from flows import without_prefect
from flows.cancel_job import cancel_job
from flows.empty_queue import empty_queue
from flows.init import init
from flows.parameters import RETRIES, RETRY_DELAY
from flows.pause_queue import pause_queue, resume_queue
from flows.reschedule_unfinished import reschedule_unfinished
from flows.restore_database import restore_database
from flows.schedule_waiting_tasks import schedule_waiting_tasks
from tests.closable_proxy import ClosableProxy, proxy_to
from tests.integration.flows.test_flows import count, queued, submitted
from tests.processes import TIMEOUT, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

IDEMPOTENT = [cancel_job, empty_queue, init, pause_queue, reschedule_unfinished, resume_queue]


@pytest.fixture
def gate(app: App) -> Iterator[ClosableProxy]:
    with proxy_to(PREFECT_API_URL.value()) as made, temporary_settings({PREFECT_API_URL: made.url}):
        yield made


def last_run(flow: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        named: FlowFilter = FlowFilter(name=FlowFilterName(any_=[flow]))
        return client.read_flow_runs(flow_filter=named, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)[0]


@pytest.mark.parametrize("flow", IDEMPOTENT, ids=lambda each: str(each.name))
def test_what_may_be_done_twice_is_retried_for_five_minutes(flow: Any) -> None:
    assert flow.retries * flow.retry_delay_seconds == RETRIES * RETRY_DELAY >= 300.0


def test_what_replaces_data_is_not_retried() -> None:
    assert not restore_database.retries


def failing_once(function: Any, error: Exception) -> Any:
    """Return a function that does its work and then fails, the first time."""
    left = [error]

    def call(*args: Any, **options: Any) -> Any:
        done = function(*args, **options)
        if left:
            raise left.pop()
        return done

    return call


def test_a_job_that_was_given_by_name_is_cancelled_also_by_the_retry(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submitted(app, {"task": "null"}, name="unwanted")
    queued(app, job)
    monkeypatch.setattr(cancel_flow, "cancel_runs", failing_once(cancel_flow.cancel_runs, httpx.ConnectError("away")))
    done = cancel_job.with_options(retry_delay_seconds=0)("unwanted")
    assert done["job_id"] == job
    assert summarise(app.database, job).state == "cancelled"
    run = last_run("cancel-job")
    assert (run.state_type, run.run_count) == (StateType.COMPLETED, 2)


def test_a_service_that_is_away_is_worth_a_retry(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    queued(app, submitted(app, {"task": "null"}))
    work = empty_flow.control.empty_queue
    monkeypatch.setattr(empty_flow.control, "empty_queue", failing_once(work, ServiceError("the broker is away")))
    assert empty_queue.with_options(retry_delay_seconds=0)() == {}
    assert last_run("empty-queue").run_count == 2
    assert app.queue.depths() == {}


def test_bad_input_is_not_retried(app: App) -> None:
    assert pause_queue(["nul"], return_state=True).is_failed()
    run = last_run("pause-queue")
    assert (run.state_type, run.run_count) == (StateType.FAILED, 1)


def test_requests_are_repeated_while_the_api_is_away(
    app: App, gate: ClosableProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(app, {"task": "null"}, name="unwanted")
    work = cancel_flow.cancel

    def cancel(*args: Any) -> Any:
        done = work(*args)
        gate.dropped = 2
        gate.close_connections()
        return done

    monkeypatch.setattr(cancel_flow, "cancel", cancel)
    assert cancel_job(str(job))["prefect_runs"] == 0
    assert gate.dropped == 0
    assert last_run("cancel-job").run_count == 1, "Prefect's client repeats the request, not the flow run"


def test_a_supervisor_runs_jobs_while_the_api_is_away(
    app: App, gate: ClosableProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(without_prefect, "CHECK_INTERVAL", 0.2)
    states: list[Any] = []

    def supervise() -> None:
        states.append(schedule_waiting_tasks(until_idle=8.0, time_limit=200, return_state=True))

    thread = threading.Thread(target=copy_context().run, args=(supervise,))
    thread.start()
    wait_for(lambda: app.database.fetch(lambda c: service_lease.last_renewal(c, service_lease.SUPERVISOR)), "its lease")
    gate.refuse_connections()
    assert not without_prefect.prefect_answers()
    over = submitted(app, {"task": "execution_chain", "task_list": []}, name="over before it is back")
    longer = submitted(app, {"task": "null"}, name="not over when it is back")
    wait_for(lambda: summarise(app.database, over).state == "done", "the job without tasks")
    wait_for(lambda: app.queue.depths().get("null") == 1, "the task of the other one")
    gate.open()
    wait_for(lambda: longer in _shown(), "the flow run of the other one")
    cancel_flow.cancel(app.database, app.queue, longer)
    thread.join(TIMEOUT)
    assert states[0].message == "1 jobs done, 0 failed, 1 cancelled"
    assert (app.settings.reports_directory / f"job_{over}").is_dir()
    assert over not in _shown()
    assert count(app, TaskState.CANCELLED) == 1


def _shown() -> set[int]:
    """Return the jobs that have a flow run."""
    with get_client(sync_client=True) as client:
        named: FlowFilter = FlowFilter(name=FlowFilterName(any_=["run-chain"]))
        return {run.parameters["job_id"] for run in client.read_flow_runs(flow_filter=named)}
