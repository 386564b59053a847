"""A database that is away for a moment costs a look of the display, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eas.errors import ServiceError
from eas.metrics import SystemCollector
from eas.orchestration.dependency_graph import Node
from eas.orchestration.orchestrator import Event, EventKind
from eas.states import TaskState
from eas.taskdb.engine import TaskDatabase
from tests.contract.chains import spec

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def away() -> Iterator[TaskDatabase]:
    database = TaskDatabase("mysql+pymysql://user@127.0.0.1:1/none", timeout=0.3)
    yield database
    database.close()


def test_a_look_at_claims_is_left_out_and_outcomes_are_waited_for(
    away: TaskDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.task_runs import TaskRuns

    tries: list[int] = []
    connect = away._connect
    monkeypatch.setattr(away, "_connect", lambda engine: tries.append(1) or connect(engine))
    monkeypatch.setattr(away, "_was_reached", True)  # it was there before
    runs = TaskRuns(away, 10, 300.0)
    assert runs.look(1) is None
    assert len(tries) == 1
    with pytest.raises(ServiceError):
        runs.read([Event(EventKind.SETTLED, Node(7, None, spec(1), TaskState.DONE))])
    assert len(tries) > 2, "it did not wait for the database"


def test_metrics_ask_a_database_that_is_away_only_once_in_a_while(
    away: TaskDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = SystemCollector(away, 300.0)
    asked: list[int] = []
    read = away.read
    monkeypatch.setattr(away, "read", lambda: asked.append(1) or read())
    for _ in range(3):
        (up,) = collector.collect()
        assert up.samples[0].value == 0
    assert len(asked) == 1
