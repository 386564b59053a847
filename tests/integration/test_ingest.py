"""Ingestion: products that are known only once the task has run, for this job and for others."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import select

from eas.taskdb import tables
from tests.integration.harness import System

INGEST: dict[str, Any] = {"task": "ingest_external_lcs", "lc_type": "lcsg", "input_path": "lcs/*.csv*"}


def put(system: System, name: str, *, period: float = 2.0, bad_line: str = "") -> None:
    folder = Path(system.app.settings.input_directory) / "lcs"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# stitched", f"# #orbital_period={period}", "time,flux,flag"]
    for index in range(480):
        time = index / 48
        lines.append(f"{time},{0.99 if (time - 0.5) % period < 0.1 else 1},0")
    lines.append(bad_line)
    content = "\n".join(lines).encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def search(file: str) -> dict[str, Any]:
    settings = {"period_min": 1}
    return {"task": "transit_search_bls_reference", "inputs": {"lightcurve": file}, "search_settings": settings}


def test_each_file_is_a_product_that_later_tasks_take_by_name(system: System) -> None:
    put(system, "one.csv")
    put(system, "two.csv.gz", period=3)
    summary = system.run([search("one.csv"), search("two.csv.gz"), INGEST])
    assert summary.succeeded, summary
    outcomes = system.run([{**search("two.csv.gz"), "name": "again"}], job_name="later")
    assert outcomes.succeeded


def test_a_bad_file_fails_and_the_good_ones_stay(system: System) -> None:
    put(system, "good.csv")
    put(system, "bad.csv", bad_line="9,oops,0")
    summary = system.run([INGEST, search("good.csv"), {"task": "verify", "inputs": {"lightcurve": "bad.csv"}}])
    assert summary.counts["ingest_external_lcs"] == {"failed": 1}
    assert summary.counts["transit_search_bls_reference"] == {"done": 1}
    assert summary.counts["verify"] == {"blocked": 1}
    put(system, "bad.csv")
    assert system.run([INGEST, {"task": "verify", "inputs": {"lightcurve": "bad.csv"}}]).succeeded


def test_retries_make_the_same_products_again(system: System) -> None:
    put(system, "good.csv")
    put(system, "bad.csv", bad_line="9,oops,0")
    summary = system.run([INGEST, search("good.csv")], retries=1, backoff=0)
    assert summary.counts["transit_search_bls_reference"] == {"done": 1}


def test_a_file_of_a_failed_attempt_does_not_bind_the_next(system: System) -> None:
    """Its name was registered by the first attempt; the second makes other files, and passes."""
    put(system, "bad.csv", bad_line="9,oops,0")
    # The files change between the attempts: the wait before the retry is when that happens.
    job = system.submit([INGEST], retries=1, backoff=10)
    with system.worker():
        system.drive(job, until=lambda each: bool(system.rows(select(tables.attempt_results.c.attempt_id))))
        folder = Path(system.app.settings.input_directory) / "lcs"
        (folder / "bad.csv").unlink()
        put(system, "good.csv")
        system.drive(job)
    assert system.summary(job).succeeded
    links = system.rows(select(tables.task_products.c.dynamic, tables.products.c.name).join(tables.products))
    assert {tuple(row) for row in links} >= {(True, "good.csv")}


def test_an_input_that_was_not_ingested_is_reported(system: System) -> None:
    put(system, "one.csv")
    summary = system.run([INGEST, search("three.csv")])
    assert summary.counts["ingest_external_lcs"] == {"done": 1}
    assert summary.counts["transit_search_bls_reference"] == {"blocked": 1}


def test_the_demonstration_runs(system: System) -> None:
    demo_jobs = Path(__file__).parents[2] / "demo_jobs"
    shutil.copytree(demo_jobs / "input", system.app.settings.input_directory)
    summary = system.run(json.loads((demo_jobs / "feature_tests" / "ingest.json").read_text(encoding="utf-8")))
    assert summary.succeeded, summary
