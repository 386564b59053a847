"""``eas plan --estimate`` on attempts that have really run, on sqlite and MariaDB."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

import eas
from eas.chains.grammar import parse_chain
from eas.errors import RequestError
from eas.operations.estimate import Estimate, estimate_chain
from eas.taskdb import tables
from eas.taskdb.queries import recorded_usage
from tests.integration.harness import System
from tests.processes import MAX_TIMEOUT
from tests.services import database_url, shared_mariadb

__all__ = ["database_url", "shared_mariadb"]

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)
SPECS = {"duration": 2, "orbital_period": 1, "sampling_cadence": 600, "planet_radius": 0.5}
CURVE = eas.expr("'{i_index}.lc'.format(**metadata)")


def sweep(values: int, *more: dict, name: str = "sweep") -> dict:
    synthesis = eas.task("synthesis_batman", outputs={"lightcurve": CURVE}, specs=SPECS)
    body = [synthesis, eas.task("verify", inputs={"lightcurve": CURVE}), *more]
    return eas.chain([eas.for_loop("i", body, linear_range=[0, 1, values])], job_name=name, working_directory=name)


def estimated(system: System, chain: dict, workers: int = 2) -> Estimate:
    parsed = parse_chain(json.dumps(chain), "chain.json", system.app.registry)
    return estimate_chain(system.app.database, system.app.registry, parsed, workers)[1]


@pytest.fixture(params=["sqlite", "mariadb"])
def filled(request: pytest.FixtureRequest, tmp_path: Path, database_url: Callable[[str], str]) -> Iterator[System]:
    made = System(tmp_path, database_url=database_url(request.param))
    made.run(sweep(3))
    yield made
    made.app.close()


def test_an_estimate_is_what_the_recorded_attempts_used(filled: System):
    found = estimated(filled, sweep(1000), workers=4)
    results, versions = tables.attempt_results, tables.product_versions
    attempts = {each.task_type: each for each in found.task_types}
    assert {name: (each.tasks, each.attempts) for name, each in attempts.items()} == {
        "synthesis_batman": (1000, 3), "verify": (1000, 3),
    }  # fmt: skip
    walls = [row[0] for row in filled.rows(select(results.c.wall))]
    assert min(walls) <= attempts["verify"].wall.median <= max(walls)
    assert attempts["synthesis_batman"].disk.median == filled.rows(select(func.min(versions.c.size)))[0][0]
    assert attempts["verify"].disk.high == 0
    assert attempts["synthesis_batman"].memory.low > 1
    assert found.guesses == ()
    total = sum(each.busy.median for each in found.worker_types)
    assert total / 4 <= found.wall.median <= total / 4 * 1.02 + max(walls)


def test_a_job_of_the_same_name_counts_before_others(filled: System):
    filled.run(sweep(2, name="other"))
    own = estimated(filled, sweep(10))
    assert {each.attempts for each in own.task_types} == {3}
    assert all(each.same_name for each in own.task_types)
    unnamed = estimated(filled, sweep(10, name="third"))
    assert {each.attempts for each in unnamed.task_types} == {5}
    assert [each.split(":")[0] for each in unnamed.guesses] == ["synthesis_batman", "verify"]


def test_what_was_reused_counts_once(filled: System):
    filled.run(sweep(3), if_exists="reuse")
    attempts = {each.task_type: each.attempts for each in estimated(filled, sweep(10)).task_types}
    assert attempts["synthesis_batman"] == 3


def test_only_the_newest_attempts_count(filled: System, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recorded_usage, "MAX_ATTEMPTS", 2)
    assert {each.attempts for each in estimated(filled, sweep(10)).task_types} == {2}


def test_failed_attempts_do_not_count(filled: System):
    filled.run([eas.task("error")], name="broken")
    with pytest.raises(RequestError, match="no attempt of any"):
        estimated(filled, eas.chain([eas.task("error")], job_name="broken"))


def test_a_type_that_never_ran_is_guessed(filled: System):
    search = eas.task("transit_search_bls_reference", inputs={"lightcurve": CURVE})
    found = estimated(filled, sweep(5, search))
    assert [each.partition(" is recorded")[0] for each in found.guesses] == [
        "no attempt of transit_search_bls_reference"
    ]
    assert found.worker_types[1].worker_type == "eas-worker-bls-reference"
    assert found.worker_types[1].attempts == 0
