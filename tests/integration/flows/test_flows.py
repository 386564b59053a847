"""The flows of operators, called as functions, on a Prefect server of their own: what they do and what they show."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.states import Scheduled
from sqlalchemy import select

from blocks import EASDatabase, overrides, save_blocks
from eas.app import App
from eas.cli import main
from eas.errors import SettingsError
from eas.model import TaskSpec
from eas.operations.empty_queue import empty_queue as control_empty_queue
from eas.orchestration.dependency_graph import Node
from eas.orchestration.orchestrator import Event, EventKind
from eas.plain_text import markdown as escaped
from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.job_changes import WITHDRAWN_REASON
from eas.taskdb.service_lease import SUPERVISOR, ServiceLease
from flows.cancel_job import cancel_job
from flows.empty_queue import empty_queue
from flows.init import init
from flows.job_runs import cancel_runs, tag_of
from flows.pause_queue import pause_queue, resume_queue
from flows.report_progress import report_progress
from flows.report_queue import report_queue
from flows.reschedule_unfinished import reschedule_unfinished
from flows.restore_database import restore_database
from flows.run_chain import run_chain
from flows.save_database import save_database
from flows.task_runs import TaskRuns
from flows.work import work
from tests.contract.chains import claimed_ids
from tests.integration.flows.submitting import artifacts, chain, count, driven, queued, submitted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]


def test_init_twice_and_its_blocks(app: App) -> None:
    assert init() == "created"
    assert init() == "unchanged"
    given = overrides("eas")
    assert given["database_url"] == app.settings.database()
    assert given["data_dir"] == str(app.settings.data_directory)
    assert EASDatabase.load("eas").get_url().get_secret_value() == app.settings.database()


def test_a_flow_with_blocks_looks_where_they_say(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(app, {"task": "null"}, name="elsewhere")
    save_blocks(app.settings, "there")
    monkeypatch.setenv("EAS_HOME", str(tmp_path / "empty"))
    path = report_progress(blocks="there")
    assert "elsewhere" in Path(path).read_text()
    assert not (tmp_path / "empty").exists()


def test_missing_blocks_are_named_with_a_hint(app: App) -> None:
    state: State[Any] = report_progress(blocks="nowhere", return_state=True)
    assert state.is_failed()
    assert "nowhere" in str(state.message)
    assert "eas blocks save --name nowhere" in str(state.message)
    with pytest.raises(SettingsError):
        overrides("nowhere")


def test_saving_and_restoring(app: App, tmp_path: Path) -> None:
    submitted(app, {"task": "null"}, name="kept")
    path = save_database()
    assert Path(path).parent == tmp_path / "backups"
    refused: State[Any] = restore_database(path, return_state=True)
    assert refused.is_failed(), "it replaced a database with a job in it"
    assert restore_database(path, force=True) > 0
    with app.database.read() as connection:
        assert connection.exec_driver_sql("SELECT name FROM jobs").scalar_one() == "kept"


def test_emptying_the_queue_and_rescheduling(app: App) -> None:
    queued(app, submitted(app, {"task": "null"}, {"task": "null"}))
    assert empty_queue() == {"null": 2}
    assert count(app, TaskState.WAITING) == 2
    assert app.queue.depths() == {}
    assert '"attempts": "2"' in str(artifacts()["empty-queue-table"].data)
    report_queue()
    table = {row["task_type"]: row for row in json.loads(str(artifacts()["report-queue-table"].data))}
    assert (table["null"]["queued"], table["null"]["held_back"]) == ("0", "2")
    assert empty_queue() == {}
    done = reschedule_unfinished()
    assert done["total"] == 2
    assert reschedule_unfinished()["total"] == 0


def test_pausing_and_resuming(app: App) -> None:
    queued(app, submitted(app, {"task": "null"}))
    assert pause_queue(["null"]) == ["null"]
    assert pause_queue(["null"]) == []
    assert claimed_ids(app.queue, "a-worker", ["null"], 1, 0.0) == []
    assert resume_queue() == ["null"]
    assert len(claimed_ids(app.queue, "a-worker", ["null"], 1, 0.0)) == 1
    state: State[Any] = pause_queue(["nul"], return_state=True)
    assert state.is_failed()
    assert "null" in str(state.message)


def test_cancelling_a_job_without_a_driver(app: App) -> None:
    queued(app, submitted(app, {"task": "null"}, name="unwanted"))
    done = cancel_job("unwanted")
    assert (done["dropped"], done["prefect_runs"]) == (1, 0)
    assert count(app, TaskState.CANCELLED) == 1


def test_a_cancelled_job_has_no_open_run_left_however_many_there_are(app: App, small_pages: None) -> None:
    with get_client(sync_client=True) as client:
        for number in range(7):
            tags = [tag_of(77)] if number % 2 else []
            client.create_flow_run(run_chain, tags=tags, parameters={"job_id": 78}, state=Scheduled())
        assert cancel_runs(77, 0.0) == 3
        assert cancel_runs(78, 0.0) == 4
        assert cancel_runs(78, 0.0) == 0


def test_a_chain_is_submitted_through_prefects_api_alone(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "laptop.json"
    file.write_text(chain({"task": "null"}, name="laptop"))
    monkeypatch.setenv("EAS_DATABASE_URL", "mysql+pymysql://me@127.0.0.1:9/none")
    with get_client(sync_client=True) as client:
        schema = run_chain.parameters
        deployment = client.create_deployment(
            client.create_flow(run_chain), "eas", parameter_openapi_schema=schema.model_dump()
        )
        with pytest.raises(SystemExit) as ended:
            main(["submit", "--through-prefect", "--retries", "2", "--json", str(file)])
        assert not ended.value.code
        run = client.read_flow_run(UUID(json.loads(capsys.readouterr().out)["flow_run_id"]))
        client.delete_flow_run(run.id)
        client.delete_deployment(deployment)
    assert run.parameters["chain"] == json.loads(file.read_text())
    assert run.parameters["retries"] == 2 and "seed" not in run.parameters


def test_the_progress_artifact_warns_where_no_process_drives_an_unfinished_job(app: App) -> None:
    job = submitted(app, {"task": "null"}, name="forgotten")
    report_progress()
    warning = f"1 job is unfinished, but no process drives them and no supervisor is alive: {job} (forgotten)"
    assert escaped(warning) in str(artifacts()["report-progress-text"].data)
    alive = ServiceLease(app.database, SUPERVISOR)
    alive.hold()
    report_progress()
    assert "WARNING" not in str(artifacts()["report-progress-text"].data)


def test_a_worker_does_what_waits_and_leaves(app: App) -> None:
    queued(app, submitted(app, {"task": "null", "duration": 0}, {"task": "error"}))
    state: State[Any] = work("eas-base", idle_exit=0.5, return_state=True)
    assert state.is_completed()
    assert "exited: 1 done, 1 failed" in str(state.message)
    unknown: State[Any] = work("eas-nonsense", return_state=True)
    assert unknown.is_failed()
    assert "unknown worker type eas-nonsense" in str(unknown.message)


def test_a_run_that_fails_says_what_to_do(app: App, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(chain({"task": "error"}, {"task": "null", "duration": 0}, name="bad"))
    state: State[Any] = driven(chain="bad.json", workers=1)
    assert state.is_failed()
    assert state.message == "job 1: 1 of 2 tasks done; 1 failed"
    text = str(artifacts()["job-bad-summary"].data)
    assert "**1 error failed**" in text
    assert "DeliberateError" in text
    assert "eas reschedule --job-id 1" in text
    assert "progress.csv" in text
    nothing: State[Any] = driven()
    assert nothing.is_failed()
    assert "neither a chain nor a job id" in str(nothing.message)


def test_a_run_writes_its_tries_down_with_the_job(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_MAX_STALLS", "1")
    (tmp_path / "empty.json").write_text(chain())
    driven(chain="empty.json", retries=2, backoff=0.5)
    driven(chain="empty.json", max_stalls=4)
    with app.database.read() as connection:
        rows = connection.execute(select(tables.jobs.c.retries, tables.jobs.c.backoff, tables.jobs.c.max_stalls))
        assert [tuple(row) for row in rows] == [(2, 0.5, 1), (0, 1.0, 4)]


def test_a_cancelled_job_ends_its_run_as_cancelled(app: App) -> None:
    job = submitted(app, {"task": "null"}, name="gone")
    cancel_in_sql(app, job)
    state: State[Any] = driven(job_id=job)
    assert state.is_cancelled()


@pytest.mark.parametrize(
    ("limit", "messages"),
    [(1000, [WITHDRAWN_REASON, WITHDRAWN_REASON]), (1, [f"2 tasks: 2 cancelled; first: {WITHDRAWN_REASON}"])],
    ids=["single", "batch"],
)
def test_a_job_whose_tasks_are_taken_off_the_queue_is_left_and_its_task_runs_are_cancelled(
    app: App, limit: int, messages: list[str]
) -> None:
    job = submitted(app, {"task": "null"}, {"task": "null"}, name=f"paused_on_withdrawn_tasks-{limit}")

    async def run() -> State[Any]:
        following = asyncio.create_task(run_chain(job_id=job, max_task_runs=limit, return_state=True))
        while not app.queue.depths():
            await asyncio.sleep(0.05)
        await asyncio.to_thread(control_empty_queue, app.database, app.queue)
        return await following

    state = asyncio.run(run())
    assert state.is_cancelled()
    assert "the job is not finished" in str(state.message)
    with get_client(sync_client=True) as client:
        (flow_run,) = [
            each for each in client.read_flow_runs() if each.name == f"paused_on_withdrawn_tasks-{limit} (job {job})"
        ]
    assert flow_run.state_type is StateType.CANCELLED
    assert ended_task_runs(flow_run.id, len(messages)) == [(StateType.CANCELLED, each) for each in messages]


def test_a_task_that_is_put_back_gets_a_task_run_of_its_own(app: App) -> None:
    node = Node(7, None, TaskSpec("1", "task_list[0]", "null", None, "job", "wd", {}, {}, {}, {}))

    @flow(name="put-back")
    async def shown() -> None:
        runs = TaskRuns(app.database, 1000, app.settings.lease)
        runs.take([Event(EventKind.QUEUED, node)], {}.__getitem__)
        node.reason = WITHDRAWN_REASON
        runs.take([Event(EventKind.WITHDRAWN, node)], {}.__getitem__)
        node.reason = None
        runs.take([Event(EventKind.QUEUED, node)], {}.__getitem__)
        node.state = TaskState.DONE
        runs.take([Event(EventKind.SETTLED, node)], {}.__getitem__)
        await runs.close()

    state: State[Any] = asyncio.run(shown(return_state=True))
    assert state.is_completed()
    assert state.state_details.flow_run_id is not None
    ended = ended_task_runs(state.state_details.flow_run_id, 2)
    assert sorted(ended, key=str) == [(StateType.CANCELLED, WITHDRAWN_REASON), (StateType.COMPLETED, "")]


def ended_task_runs(flow_run: UUID, expected: int) -> list[tuple[StateType, str | None]]:
    """Return how the task runs of a flow run ended; the server records them a little later."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    deadline = time.monotonic() + 30.0
    while True:
        with get_client(sync_client=True) as client:
            states = [each.state for each in client.read_task_runs(flow_run_filter=of_run)]
        ended = [(each.type, each.message) for each in states if each is not None and each.is_final()]
        if len(ended) == len(states) >= expected:
            return ended
        assert time.monotonic() < deadline, states
        time.sleep(0.1)


def cancel_in_sql(app: App, job: int) -> None:
    from eas.operations.cancel import cancel

    cancel(app.database, app.queue, job)
