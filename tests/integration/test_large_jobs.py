"""A large job takes several steps: its first leaf tasks are queued while others are still to be expanded."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from eas.orchestration import expansion, orchestrator
from eas.orchestration.orchestrator import Orchestrator
from eas.states import TaskState
from eas.taskdb import tables
from tests.integration.chains import NULL, loop, synthesis, verify
from tests.integration.harness import System

FILE = "'{i_index}_{k_index}.lc'.format(**metadata)"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job of a hundred tasks be a large one."""
    monkeypatch.setattr(expansion, "TASKS_PER_TRANSACTION", 20)
    for name, value in {
        "MAX_QUEUED_PER_TRANSACTION": 12,
        "QUEUE_BEFORE_EXPANSION": 6,
        "MAX_READY_PER_PASS": 15,
        "MAX_QUEUED_PER_STEP": 24,
    }.items():
        monkeypatch.setattr(orchestrator, name, value)


def nested(*tasks: dict[str, Any]) -> dict[str, Any]:
    return loop("i", list(range(8)), loop("k", list(range(9)), *tasks))


def queued_addresses(system: System, job: int) -> list[list[int]]:
    """Return the addresses of the tasks that were queued, in this order."""
    attempt, task = tables.attempts, tables.tasks
    query = select(task.c.address).select_from(attempt.join(task, task.c.id == attempt.c.task_id))
    rows = system.rows(query.where(attempt.c.job_id == job).order_by(attempt.c.id))
    return [[int(part) for part in address.replace("#", ".").split(".")] for (address,) in rows]


@pytest.mark.usefixtures("small_parts")
def test_the_first_tasks_are_queued_while_others_are_still_to_be_expanded(system: System) -> None:
    driven = system.app.orchestrator(system.submit([nested(NULL)]))
    driven.open()
    driven.step()
    queued = queued_addresses(system, driven.job_id)
    assert 0 < len(queued) < 72
    assert driven.busy
    assert driven.graph.unexpanded > 0
    assert driven.graph.leaves < 60
    assert 65 <= driven.graph.expected_leaves() <= 80
    assert queued == sorted(queued)
    assert len(to_the_end(driven)) < 72
    queued = queued_addresses(system, driven.job_id)
    assert len(queued) == driven.graph.expected_leaves() == 72
    assert queued == sorted(queued)
    driven.close()


def to_the_end(driven: Orchestrator) -> list[int]:
    """Step until nothing is left to do at once; return how many leaf tasks each step queued."""
    counts = []
    while driven.busy:
        counts.append(sum(event.what == "queued" for event in driven.step()))
    return counts


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("readers_first", [False, True])
def test_dependencies_hold_across_steps(system: System, readers_first: bool) -> None:
    makers, readers = nested(synthesis(FILE)), nested(verify(FILE))
    summary = system.run([readers, makers] if readers_first else [makers, readers])
    assert summary.leaves == {"done": 144}


@pytest.mark.usefixtures("small_parts")
def test_a_job_is_continued_after_any_step(system: System) -> None:
    job = system.submit([nested(synthesis(FILE)), nested(verify(FILE))])
    steps, unfinished = 0, True
    while unfinished:
        driven = system.app.orchestrator(job)
        driven.open()
        driven.step()
        unfinished = driven.busy
        driven.close()
        steps += 1
    assert steps > 2
    with system.worker():
        system.drive(job)
    assert system.summary(job).leaves == {"done": 144}
    task = tables.tasks
    rows = system.rows(select(task.c.address).where(task.c.job_id == job, task.c.state == TaskState.DONE))
    assert len({row.address for row in rows}) == len(rows)


@pytest.mark.usefixtures("small_parts")
def test_what_waits_for_all_iterations_waits_for_those_that_are_expanded_last(system: System) -> None:
    late = verify("7_8.lc")
    job = system.submit([late, nested(synthesis(FILE))])
    driven = system.app.orchestrator(job)
    driven.open()
    driven.step()
    (node,) = (each for each in driven.graph.nodes.values() if each.task_type == "verify")
    assert node.state is TaskState.WAITING
    to_the_end(driven)
    assert node.state is TaskState.WAITING
    assert node.makers
    driven.close()
    with system.worker():
        system.drive(job)
    assert system.summary(job).succeeded
