"""Supervisor and scaler as flows, on a Prefect server of their own: what they start, and what they survive."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Crashed, Failed, Pending, Running, Scheduled

from eas.app import App
from eas.errors import EASError, RequestError, ServiceError
from eas.orchestration.job_summary import summarise
from eas.taskdb.service_lease import SCALER, ServiceLease
from flows import outages, progress_table
from flows import scale_workers as scaling_flow
from flows import schedule_waiting_tasks as supervisor_flow
from flows.automations import AUTOMATION_NAMES, NAME, heartbeat_automation, save_automations
from flows.parameters import failed
from flows.progress_table import ProgressTable
from flows.scale_workers import scale_workers
from flows.schedule_waiting_tasks import raise_error_of, schedule_waiting_tasks
from flows.work import work
from tests.integration.flows.submitting import artifacts, queued, submitted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]


def test_scaling_without_deployments_starts_nothing(app: App) -> None:
    queued(app, submitted(app, {"task": "null"}))
    assert scale_workers(dry_run=True) == {}
    assert artifacts()["scale-workers"].description == "0 workers would be started."


def test_all_workers_that_are_being_started_are_counted(app: App, small_pages: None) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(work), "eas-base")
        for _ in range(5):
            client.create_flow_run(work, parameters={"worker_type": "eas-base"}, state=Scheduled())
        assert scale_workers(minimum=4, maximum=9, dry_run=True) == {}
        client.delete_deployment(deployment)
    (row,) = json.loads(str(artifacts()["scale-workers"].data))
    assert (row["starting"], row["would start"]) == ("5", "0")


def test_workers_that_find_no_room_and_that_nobody_needs_are_taken_back(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(work), "eas-base")
        states = (Scheduled(), Pending(), Running())
        runs = [client.create_flow_run(work, parameters={"worker_type": "eas-base"}, state=each).id for each in states]
        assert scale_workers() == {}
        monkeypatch.setattr(
            scaling_flow, "STUCK_AFTER", -5.0
        )  # the server renews the time in its answers once a second
        assert scale_workers() == {}
        found = [client.read_flow_run(each).state_type for each in runs]
        for each in runs:
            client.delete_flow_run(each)
        client.delete_deployment(deployment)
    assert found == [StateType.CANCELLED, StateType.CANCELLED, StateType.RUNNING]


def answers(*errors: Exception) -> Any:
    """Return a ``get_client`` that raises these errors first, one a call, and then works."""
    left = list(errors)

    def client(**options: Any) -> Any:
        if left:
            raise left.pop(0)
        return get_client(**options)

    return client


def test_scaling_survives_whatever_the_api_answers(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = (httpx.ConnectError("refused"), RuntimeError("Failed to reach API"), httpx.ReadTimeout("slow"))
    monkeypatch.setattr(scaling_flow, "get_client", answers(*errors))
    monkeypatch.setattr(outages, "MIN_RETRY_DELAY", 0.01)
    monkeypatch.setattr(outages, "MAX_RETRY_DELAY", 0.01)
    sleep = time.sleep
    monkeypatch.setattr(scaling_flow.time, "sleep", lambda seconds: sleep(0.2))
    assert scale_workers(every=1, time_limit=8.0, dry_run=True) == {}
    assert artifacts()["scale-workers"].description == "0 workers would be started."


def test_limits_that_contradict_each_other_end_the_scaler_at_once(app: App) -> None:
    state: State[Any] = scale_workers(minimum=5, maximum=1, every=1, return_state=True)
    assert state.is_failed()
    assert "0 <= minimum <= maximum" in str(state.message)


def test_a_scaler_stands_by_while_another_one_is_alive(app: App) -> None:
    other = ServiceLease(app.database, SCALER)
    assert other.hold()
    before = artifacts().get("scale-workers")
    assert scale_workers(every=1, time_limit=1.5) == {}
    assert artifacts().get("scale-workers") == before
    other.release()


def test_a_supervisor_keeps_the_table_of_progress_up_to_date_in_one_artifact(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_table, "UPDATE_INTERVAL", 0.2)
    submitted(app, {"task": "execution_chain", "task_list": []}, name="first of two")
    schedule_waiting_tasks(until_idle=3.0, time_limit=60)
    first = artifacts()[progress_table.KEY]
    (row,) = [each for each in json.loads(str(first.data)) if each["job_name"] == "first of two"]
    assert row["total"] == "2"
    table = ProgressTable(app.database, app.settings.lease)
    assert table.look()
    assert not table.look(), "nothing changed"
    created = artifacts()[progress_table.KEY].latest_id
    submitted(app, {"task": "execution_chain", "task_list": []}, name="second of two")
    assert table.look()
    latest = artifacts()[progress_table.KEY]
    assert latest.latest_id == created
    assert "second of two" in str(latest.data)


def test_errors_of_prefect_are_outages_to_the_supervisor_and_errors_of_the_job_are_not(app: App) -> None:
    raise_error_of(Completed())
    with pytest.raises(ServiceError, match="crashed"):
        raise_error_of(Crashed(message="the process is gone"))
    with pytest.raises(ServiceError):
        raise_error_of(failed(ServiceError("the task database cannot be reached")))
    with pytest.raises(ServiceError, match="Prefect's API"):
        raise_error_of(Failed(message="", data=httpx.ConnectError("refused")))
    with pytest.raises(RequestError):
        raise_error_of(failed(RequestError("this chain cannot be expanded")))
    with pytest.raises(EASError, match="a bug"):
        raise_error_of(Failed(message="a bug", data=ValueError("a bug")))


def test_the_supervisor_runs_a_job_for_which_prefect_cannot_run_a_flow(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(app, {"task": "execution_chain", "task_list": []}, name="late")

    async def flow_run(**parameters: Any) -> State[Any]:
        raise httpx.HTTPStatusError("503", request=httpx.Request("GET", "http://x"), response=httpx.Response(503))

    monkeypatch.setattr(supervisor_flow, "run_chain", flow_run)
    state: State[Any] = schedule_waiting_tasks(until_idle=0.5, time_limit=120, return_state=True)
    assert state.message == "1 jobs done, 0 failed, 0 cancelled"
    assert summarise(app.database, job).succeeded


def test_the_automations_are_saved_once(server: None) -> None:
    first = save_automations(60)
    assert set(first) == {NAME, *AUTOMATION_NAMES.values()}
    assert save_automations() == first
    with get_client(sync_client=True) as client:
        (found,) = client.read_automations_by_name(NAME)
    assert found.trigger.within == heartbeat_automation().trigger.within  # type: ignore[union-attr]
