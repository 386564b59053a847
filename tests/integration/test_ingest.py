"""Ingestion: products that are known only once the task has run, for this job and for others."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

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


def test_an_input_that_was_not_ingested_is_told(system: System) -> None:
    put(system, "one.csv")
    summary = system.run([INGEST, search("three.csv")])
    assert summary.counts["ingest_external_lcs"] == {"done": 1}
    assert summary.counts["transit_search_bls_reference"] == {"blocked": 1}


def test_the_demonstration_runs(system: System) -> None:
    demo_jobs = Path(__file__).parents[2] / "demo_jobs"
    shutil.copytree(demo_jobs / "input", system.app.settings.input_directory)
    summary = system.run(json.loads((demo_jobs / "feature_tests" / "ingest.json").read_text(encoding="utf-8")))
    assert summary.succeeded, summary
