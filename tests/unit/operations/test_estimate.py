"""The arithmetic of an estimate: medians and ranges of what attempts used, totals, guesses."""

from __future__ import annotations

import json

import pytest

from eas.chains.planner import TaskGroup
from eas.errors import RequestError
from eas.operations.estimate import Estimate, Quantiles, estimate, headline, worker_type_rows
from eas.taskdb.queries.recorded_usage import Recorded, Usage
from tests.unit.chains.build import REGISTRY

SYNTHESIS, BASE = "eas-worker-synthesis-psls-batman", "eas-base"
GROUPS = [
    TaskGroup("task_list[0]", "synthesis_batman", True, 10, ()),
    TaskGroup("task_list[1]", "verify", True, 10, (0,)),
    TaskGroup("task_list[2]", "", True, 1, (1,)),
    TaskGroup("task_list[3]", "verify", False, 5, (2,)),
]
USED = {
    "synthesis_batman": Recorded([Usage(wall, 2 * wall, 100 * wall, 1e6) for wall in (1.0, 2.0, 3.0)], True),
    "verify": Recorded([Usage(1.0, 0.5, 50.0, 0.0)], False),
}


def made(
    workers: int = 2, found: dict[str, Recorded] | None = None, leaves: tuple[int, int | None] = (20, 25)
) -> Estimate:
    return estimate(GROUPS, USED if found is None else found, REGISTRY, workers, leaves)


def test_a_span_is_the_median_and_the_range_without_the_outermost_tenths():
    assert Quantiles.of([3.0]) == Quantiles(3, 3, 3)
    assert Quantiles.of([float(value) for value in range(101)]) == Quantiles(10, 50, 90)
    assert Quantiles.of([1.0, 1.0, 1.0, 1.0, 1000.0]).median == 1.0


def test_the_time_follows_the_dependencies_and_the_number_of_workers():
    # 10 of 2 s and 10 of 1 s, and after all of them 5 of 1 s that may not run.
    assert made(workers=1).wall.median == 35
    assert made(workers=5).wall.median == 4 + 2 + 1
    assert made(workers=1000).wall.median == 2 + 1 + 1


def test_the_range_ends_without_what_may_not_run_and_with_all_of_it():
    found = made(workers=1)
    assert found.wall.low == pytest.approx(10 * 1.2 + 10)
    assert found.wall.high == pytest.approx(10 * 2.8 + 15)


def test_totals_are_by_worker_type():
    found = {each.worker_type: each for each in made().worker_types}
    assert list(found) == [BASE, SYNTHESIS]
    assert found[SYNTHESIS].cpu == Quantiles(pytest.approx(24), 40, pytest.approx(56))
    assert found[SYNTHESIS].busy.median == 20
    assert found[SYNTHESIS].memory.median == 200, "of one task"
    assert found[SYNTHESIS].disk.median == 10e6
    assert (found[BASE].tasks, found[BASE].cpu) == (15, Quantiles(5, 7.5, 7.5))
    assert (found[BASE].attempts, found[SYNTHESIS].attempts) == (1, 3)


def test_it_says_on_what_it_is_based_and_what_is_guessed():
    found = made()
    assert found.attempts == 4
    assert "from 4 recorded attempts" in headline(found)
    assert len(found.guesses) == 2
    assert found.guesses[0].startswith("verify: from jobs of other names")
    assert found.guesses[1].startswith("20 to 25 tasks run")
    assert made(leaves=(20, None)).guesses[1].startswith("at least 20 tasks run")
    assert made(leaves=(20, 20)).guesses[1].startswith("20 tasks run, depending on data: the estimate counts 25")


def test_a_type_without_attempts_takes_what_others_took():
    found = made(found={"verify": USED["verify"]})
    guessed = {each.task_type: each for each in found.task_types}["synthesis_batman"]
    assert (guessed.attempts, guessed.wall) == (0, Quantiles(1, 1, 1))
    assert found.guesses[0].startswith("no attempt of synthesis_batman is recorded")


def test_those_of_the_same_worker_type_come_first():
    groups = [TaskGroup("a", name, True, 1, ()) for name in ("synthesis_batman", "synthesis_psls", "verify")]
    found = estimate(groups, USED, REGISTRY, 1, (3, 3))
    assert {each.task_type: each.wall.median for each in found.task_types}["synthesis_psls"] == 2.0


def test_without_any_attempt_there_is_no_estimate():
    with pytest.raises(RequestError, match="no attempt of any of its task types") as raised:
        made(found={})
    assert "run the chain with a few loop values first" in str(raised.value)


def test_a_chain_without_tasks_takes_no_time():
    found = estimate([], {}, REGISTRY, 3, (0, 0))
    assert (found.wall, found.worker_types, found.guesses) == (Quantiles(0, 0, 0), (), ())


def test_it_is_plain_data_and_a_table():
    found = made()
    data = json.loads(json.dumps(found.to_json()))
    assert data["wall"] == {"low": found.wall.low, "median": found.wall.median, "high": found.wall.high}
    assert data["worker_types"][1]["disk"]["median"] == 10e6
    assert worker_type_rows(found)[1] == (SYNTHESIS, "10", "40 s", "24 s to 56 s", "280.0 MB", "10.0 MB", "3")
    assert "<td>280.0 MB</td>" in found._repr_html_()
