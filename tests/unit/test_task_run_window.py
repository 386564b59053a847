"""How far the changes of task runs that are sent may be ahead of those that Prefect's server has recorded."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from prefect.client.schemas.objects import StateType

from flows import task_run_events
from flows.task_run_events import Change, RecordedTaskRun, TaskRunSender


class SlowServer:
    """Stands in for Prefect's: of what it was sent it records ``each_look`` begins and ends between two looks."""

    def __init__(self, each_look: int) -> None:
        self.each_look = each_look
        self.sent = self.recorded = self.furthest_behind = 0

    def take(self, *_: object, **__: object) -> None:
        self.sent += 2  # a task that begins and ends between two looks
        self.furthest_behind = max(self.furthest_behind, self.sent - self.recorded)

    async def look(self, _known: int) -> int:
        self.recorded = min(self.sent, self.recorded + self.each_look)
        return self.recorded


def sent_to(server: SlowServer, monkeypatch: pytest.MonkeyPatch, senders: int = 1) -> None:
    """Send 50 tasks that are over, from each of several flow runs of this process."""
    monkeypatch.setattr(task_run_events, "WINDOW", 12)
    monkeypatch.setattr(task_run_events, "emit_task_run_state_change_event", server.take)
    monkeypatch.setattr(task_run_events, "_recorded_changes", server.look)
    monkeypatch.setattr(task_run_events, "SENDERS", type(task_run_events.SENDERS)())

    async def send() -> None:
        made = [TaskRunSender() for _ in range(senders)]
        for sender in made:
            for number in range(50):
                run = RecordedTaskRun("null", f"task {number}", str(number), [], time.time())
                sender.put(run, Change(StateType.COMPLETED, "Completed", time.time()))
        await asyncio.gather(*(sender.close() for sender in made))

    asyncio.run(send())


def test_the_server_is_never_further_behind_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(each_look=4)
    sent_to(server, monkeypatch)
    assert server.sent == 100, "nothing is lost"
    assert 8 <= server.furthest_behind <= 12


def test_flow_runs_of_one_process_share_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(SlowServer):
        """Each of two flow runs hears of its own half."""

        async def look(self, known: int) -> int:
            return min(await super().look(known), self.sent) // 2

    server = Counted(each_look=8)
    sent_to(server, monkeypatch, senders=2)
    assert server.sent == 200
    assert server.furthest_behind <= 12 + 2


def test_a_server_that_records_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_run_events, "TIMEOUT", -1.0)
    server = SlowServer(each_look=0)
    with caplog.at_level(logging.WARNING, "eas.flows"):
        sent_to(server, monkeypatch)
    assert server.sent == 100
    assert "stopped recording task runs" in caplog.text


def test_the_window_is_a_fraction_of_the_servers_queue() -> None:
    queue = 10_000  # events; a task run makes up to three, one for its begin and two for its end
    assert queue / 2 > task_run_events.WINDOW * 3 / 2
