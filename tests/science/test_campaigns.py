"""Every campaign's reduced twin, and the feature tests of the science, run to the end by a real worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from eas.taskdb import tables
from eas.tasks import psls_data
from tests.integration.harness import System

DEMO_JOBS = Path(__file__).parents[2] / "demo_jobs"
CAMPAIGNS = sorted((DEMO_JOBS / "campaigns").glob("*.json"))
TWINS = sorted((DEMO_JOBS / "campaigns" / "reduced").glob("*.json"))
FEATURES = [DEMO_JOBS / "feature_tests" / name for name in ("all_searches.json", "psls.json")]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system and one worker for all: the searches' compiled code is loaded once."""
    psls_data.fetch()
    running = System(tmp_path_factory.mktemp("campaigns"))
    with running.worker():
        yield running
    running.app.close()


def shape(document: object) -> object:
    """Return what is left of a chain without its numbers: the same for a campaign and its twin."""
    if isinstance(document, dict):
        ignored = ("job_name", "working_directory", "search_settings", "specs", "lc_duration")
        return {key: shape(value) for key, value in document.items() if key not in ignored}
    if isinstance(document, list) and all(isinstance(each, dict) for each in document):
        tools = [shape(each) for each in document]
        searches = [each for each in tools if str(each["task"]).startswith("transit_search")]  # type: ignore[index]
        return [each for each in tools if each not in searches] + [bool(searches)]
    return "..." if isinstance(document, list) else document


def test_every_campaign_has_a_twin_of_its_own_shape() -> None:
    assert [f"{path.stem}_reduced" for path in CAMPAIGNS] == [path.stem for path in TWINS]
    for campaign, twin in zip(CAMPAIGNS, TWINS, strict=True):
        large, small = (json.loads(path.read_text(encoding="utf-8")) for path in (campaign, twin))
        assert shape(large) == shape(small), campaign.name


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", [*TWINS, *FEATURES], ids=lambda path: path.stem)
def test_runs_to_the_end(system: System, path: Path) -> None:
    chain = json.loads(path.read_text(encoding="utf-8"))
    job = system.submit(chain)
    system.drive(job)
    summary = system.summary(job)
    assert summary.succeeded, summary
    outcomes = found(system, job)
    assert "PASS" in outcomes, outcomes


def found(system: System, job: int) -> list[str]:
    """Return the outcomes of a job's searches."""
    results, attempts = tables.attempt_results, tables.attempts
    query = select(results.c.output_metadata).join(attempts, attempts.c.id == results.c.attempt_id)
    rows = system.rows(query.where(attempts.c.job_id == job))
    return [outcome for row in rows if (outcome := json.loads(row.output_metadata).get("outcome"))]
