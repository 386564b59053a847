"""Prefect task runs of a job, on a Prefect server of their own: names, states, times, numbers, lists, logs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, LogFilter
from prefect.client.schemas.objects import StateType, TaskRun
from sqlalchemy import select

from eas.app import App
from eas.chains.grammar import parse_chain
from eas.model import AttemptResult, ClaimedAttempt, LogEntry, Usage
from eas.operations.job_options import SubmitOptions
from eas.operations.submit import submit
from eas.taskdb import results, tables
from flows import batch_members, task_run_events, task_runs
from flows.run_chain import run_chain
from flows.task_run_events import Change, start, times

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

TIMEOUT = 60.0
WORKER = "a-worker"
LEAF = {"task": "null", "name": "idle"}
LOOP = {"task": "execution_for_loop", "parameter": "size", "values": [0.5, 0.25], "task_list": [LEAF]}


@pytest.fixture(autouse=True)
def linked_and_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_WEB_URL", "http://eas.test/")
    monkeypatch.setattr(task_runs, "POLL_INTERVAL", 0.1)


class Bench:
    """A job in its flow run, and a worker whose every move is a call: no time passes but that of SQL."""

    def __init__(self, app: App, *tasks: dict[str, Any], name: str, **options: Any) -> None:
        self.app = app
        text = json.dumps({"job_name": name, "working_directory": name, "task_list": list(tasks)})
        self.job = submit(app.database, app.registry, parse_chain(text, name), SubmitOptions(**options))
        self.flow_run = f"{name} (job {self.job})"

    def run(self, moves: Callable[[], Awaitable[None]], **parameters: Any) -> None:
        """Run the flow while ``moves`` are made."""

        async def both() -> None:
            flow = asyncio.create_task(run_chain(job_id=self.job, return_state=True, **parameters))
            await moves()
            await asyncio.wait_for(flow, TIMEOUT)

        asyncio.run(both())

    async def claim(self, number: int) -> list[ClaimedAttempt]:
        """Claim this number of attempts, as soon as they are on the queue."""
        found: list[ClaimedAttempt] = []
        async with asyncio.timeout(TIMEOUT):
            while len(found) < number:
                found += self.app.queue.claim(WORKER, ["null", "error"], number - len(found), 0.0)
                await asyncio.sleep(0.02)
        return found

    def finish(self, attempt: ClaimedAttempt, *, failed: bool = False, took: float = 0.0) -> AttemptResult:
        """Deliver a result of an attempt that began now, and took some time [s]."""
        began = self.app.database.now()
        ended = began + took
        log = (LogEntry(began, 40, "eas", "it went <b>wrong</b>"),) if failed else ()
        result = AttemptResult(
            attempt_id=attempt.attempt_id,
            reason="a reason" if failed else "",
            started=began,
            ended=ended,
            usage=Usage(wall=took),
            log=log,
        )
        self.app.database.transact(lambda connection: results.finish(connection, WORKER, [result], ended))
        return result

    def claimed_at(self, attempt: ClaimedAttempt) -> float:
        table = tables.attempts
        with self.app.database.read() as connection:
            query = select(table.c.claimed_at).where(table.c.id == attempt.attempt_id)
            return float(connection.execute(query).scalar_one())

    async def shown(self, kind: str, state: str) -> TaskRun:
        """Wait until Prefect shows a task run of a kind in a state."""
        async with asyncio.timeout(TIMEOUT), get_client() as client:
            while True:
                found = await client.read_task_runs(flow_run_filter=self.filter)
                for run in found:
                    if run.task_key == kind and run.state and run.state.name == state:
                        return run
                await asyncio.sleep(0.1)

    def ended(self, expected: int) -> dict[str, TaskRun]:
        """Return the task runs by name, when all have ended."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            with get_client(sync_client=True) as client:
                found = client.read_task_runs(flow_run_filter=self.filter)
            if len(found) == expected and all(run.state and run.state.is_final() for run in found):
                return {run.name: run for run in found}
            assert time.monotonic() < deadline, [(run.name, run.state_name) for run in found]
            time.sleep(0.1)

    @property
    def filter(self) -> FlowRunFilter:
        return FlowRunFilter(name=FlowRunFilterName(any_=[self.flow_run]))


def seconds(moment: Any) -> float:
    return float(moment.timestamp())


def logs(run: TaskRun, expected: int) -> list[Any]:
    """Return the log of a task run in the order of its times, when the server has all of it."""
    from prefect.client.schemas.filters import LogFilterTaskRunId

    deadline = time.monotonic() + TIMEOUT
    with get_client(sync_client=True) as client:
        while len(found := client.read_logs(LogFilter(task_run_id=LogFilterTaskRunId(any_=[run.id])))) < expected:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    return sorted(found, key=lambda entry: entry.timestamp)


def test_names_carry_type_chain_name_loop_values_and_task_id(app: App) -> None:
    bench = Bench(app, LOOP, name="named")

    async def moves() -> None:
        for attempt in await bench.claim(2):
            bench.finish(attempt)

    bench.run(moves)
    with app.database.read() as connection:
        rows = connection.execute(select(tables.tasks.c.id, tables.tasks.c.task_type, tables.tasks.c.metadata))
        ids = {(row.task_type, json.loads(row.metadata).get("size")): row.id for row in rows}
    assert set(bench.ended(5)) == {
        f"execution_for_loop, 2 values (task {ids['execution_for_loop', None]})",
        f"execution_chain [size=0.5] (task {ids['execution_chain', 0.5]})",
        f"execution_chain [size=0.25] (task {ids['execution_chain', 0.25]})",
        f'null "idle" [size=0.5] (task {ids["null", 0.5]})',
        f'null "idle" [size=0.25] (task {ids["null", 0.25]})',
    }


def test_a_task_run_is_pending_until_a_claim_and_has_the_times_of_its_task(app: App) -> None:
    bench = Bench(app, LEAF, name="timed")
    result: list[AttemptResult] = []
    claimed: list[float] = []

    async def moves() -> None:
        pending = await bench.shown("null", "Pending")
        assert pending.start_time is None
        (attempt,) = await bench.claim(1)
        claimed.append(bench.claimed_at(attempt))
        running = await bench.shown("null", "Running")
        assert seconds(running.start_time) == pytest.approx(claimed[0], abs=1e-3)
        assert running.run_count == 1
        result.append(bench.finish(attempt, took=3.25))

    bench.run(moves)
    (run,) = bench.ended(1).values()
    assert run.state_name == "Completed"
    assert seconds(run.start_time) == pytest.approx(result[0].started, abs=1e-3)
    assert seconds(run.end_time) == pytest.approx(result[0].ended, abs=1e-3)
    assert run.total_run_time.total_seconds() == pytest.approx(3.25, abs=1e-3)
    assert seconds(run.start_time) > claimed[0]


def test_what_is_past_when_its_turn_comes_is_no_event(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    emit = task_run_events.emit_task_run_state_change_event

    def count(run: Any, before: Any, after: Any, **options: Any) -> Any:
        sent.append(f"{run.dynamic_key} {after.name}")
        return emit(run, before, after, **options)

    monkeypatch.setattr(task_run_events, "emit_task_run_state_change_event", count)
    at = time.time() - 60

    @flow(persist_result=False)
    async def sending() -> None:
        sender = task_run_events.TaskRunSender()
        fast, slow = (task_run_events.RecordedTaskRun("null", "null", key, [], at) for key in ("fast", "slow"))
        begun = Change(StateType.RUNNING, "Running", at + 1, columns=start(at + 1, 1) | {"name": "renamed"})
        for run in (fast, slow):
            sender.put(run, Change(StateType.PENDING, "Pending", at))
            sender.put(run, begun)
        sender.put(fast, Change(StateType.COMPLETED, "Completed", at + 3, columns=times(at + 1, at + 3)))
        await sender.close()
        sender.put(slow, Change(StateType.COMPLETED, "Completed", at + 5, columns=times(at + 1, at + 5)))
        await sender.close()

    asyncio.run(sending.with_options(flow_run_name="coalesced")())
    assert sorted(sent) == ["fast Completed", "slow Completed", "slow Running"]
    named = FlowRunFilter(name=FlowRunFilterName(any_=["coalesced"]))
    deadline = time.monotonic() + TIMEOUT
    with get_client(sync_client=True) as client:
        while not (found := [r for r in client.read_task_runs(flow_run_filter=named) if r.end_time]) or len(found) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    for run in found:
        assert (run.name, run.run_count, run.state_type) == ("renamed", 1, StateType.COMPLETED)
        assert seconds(run.start_time) == pytest.approx(at + 1)


def test_a_retry_is_awaited_and_then_has_the_number_and_the_times_of_its_attempt(app: App) -> None:
    bench = Bench(app, LEAF, name="retried", retries=1, backoff=0.0)
    last: list[AttemptResult] = []

    async def moves() -> None:
        (first,) = await bench.claim(1)
        await bench.shown("null", "Running")
        bench.finish(first, failed=True)
        waiting = await bench.shown("null", "AwaitingRetry")
        assert waiting.state is not None
        assert waiting.state.message == "a reason"
        (second,) = await bench.claim(1)
        retrying = await bench.shown("null", "Retrying")
        assert retrying.run_count == 2
        last.append(bench.finish(second, failed=True, took=1.5))

    bench.run(moves)
    (run,) = bench.ended(1).values()
    assert run.state is not None
    assert (run.state_name, run.state.message, run.run_count) == ("Failed", "a reason", 2)
    assert seconds(run.start_time) == pytest.approx(last[0].started, abs=1e-3)
    assert run.total_run_time.total_seconds() == pytest.approx(1.5, abs=1e-3)


def test_a_control_task_runs_from_its_expansion_to_the_end_of_its_last_child(app: App) -> None:
    bench = Bench(app, LOOP, name="controlled")

    async def moves() -> None:
        first, second = await bench.claim(2)
        loop = await bench.shown("execution_for_loop", "Running")
        assert loop.end_time is None
        bench.finish(first)
        bench.finish(second, failed=True, took=0.5)

    bench.run(moves)
    (loop,) = [run for name, run in bench.ended(5).items() if name.startswith("execution_for_loop")]
    assert loop.state is not None
    assert (loop.state_name, loop.state.message) == ("Failed", "1 of 2 children did not succeed")
    leaves = [run for name, run in bench.ended(5).items() if name.startswith("null")]
    assert all(loop.start_time <= run.start_time for run in leaves)  # type: ignore[operator]


def test_a_blocked_task_has_no_start(app: App) -> None:
    bench = Bench(app, LEAF, {"task": "null", "requires_metadata_from": ["idle"]}, name="blocked")

    async def moves() -> None:
        (attempt,) = await bench.claim(1)
        bench.finish(attempt, failed=True)

    bench.run(moves)
    ended = bench.ended(2).values()
    assert sorted(str(run.state_name) for run in ended) == ["Blocked", "Failed"]
    (blocked,) = [run for run in ended if run.state_name == "Blocked"]
    assert (blocked.start_time, blocked.run_count) == (None, 0)


def test_the_log_of_a_failed_task_has_the_times_of_the_worker_and_no_other_task_run_logs_anything(app: App) -> None:
    bench = Bench(app, LEAF, {"task": "null"}, name="logged")
    failed: list[AttemptResult] = []

    async def moves() -> None:
        first, second = await bench.claim(2)
        failed.append(bench.finish(first, failed=True, took=0.5))
        bench.finish(second)

    bench.run(moves)
    runs = {run.state_name: run for run in bench.ended(2).values()}
    entry, more = logs(runs["Failed"], 2)
    assert (entry.message, entry.level) == ("it went <b>wrong</b>", 40)
    assert re.fullmatch(r"more of this task: eas show (\d+), or http://eas.test/tasks/\1", more.message)
    assert seconds(entry.timestamp) == pytest.approx(failed[0].started, abs=1e-3)
    with get_client(sync_client=True) as client:
        from prefect.client.schemas.filters import LogFilterFlowRunId

        of_run = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[runs["Failed"].flow_run_id])))
    assert [each.message for each in of_run if "Finished in state Completed" in each.message] == []


def test_a_batch_lists_its_members_failed_ones_first(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_members, "MAX_MEMBERS", 3)
    bench = Bench(app, LOOP | {"values": [1, 2, 3, 4]}, name="batched")

    async def moves() -> None:
        attempts = await bench.claim(4)
        batch = await bench.shown("null", "Running")
        assert seconds(batch.start_time) == pytest.approx(bench.claimed_at(attempts[0]), abs=1e-3)
        for attempt in attempts[:3]:
            bench.finish(attempt)
        bench.finish(attempts[3], failed=True, took=2.0)

    bench.run(moves, max_task_runs=1)
    (batch,) = [run for run in bench.ended(2).values() if run.task_key == "null"]
    with app.database.read() as connection:
        ids = list(connection.execute(select(tables.tasks.c.id).where(tables.tasks.c.task_type == "null")).scalars())
    assert batch.name == f"null [batch of 4: 3 done, 1 failed] (tasks {ids[0]} to {ids[-1]})"
    table = members(batch)
    assert [(row["task"], row["state"]) for row in table] == [
        (str(ids[3]), "failed"),
        (str(ids[0]), "done"),
        (str(ids[1]), "done"),
    ]
    assert table[0]["what"] == 'null "idle" [size=4]'
    assert table[0]["reason"] == "a reason"
    assert table[0]["page"] == f"http://eas.test/tasks/{ids[3]}"


def members(batch: TaskRun) -> list[dict[str, str]]:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterTaskRunId

    mine = ArtifactFilter(task_run_id=ArtifactFilterTaskRunId(any_=[batch.id]))
    with get_client(sync_client=True) as client:
        (found,) = client.read_artifacts(artifact_filter=mine)
    assert found.type == "table"
    table: list[dict[str, str]] = json.loads(str(found.data))
    return table
