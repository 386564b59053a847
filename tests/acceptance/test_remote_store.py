"""``eas`` with its file products behind a server that speaks S3: real processes, settings saved once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import Home
from tests.processes import MAX_TIMEOUT
from tests.s3 import S3, s3_server

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def test_a_store_is_chosen_once_and_used_by_all(bare_home: Home, s3: S3, prefect_server: str) -> None:
    bare_home.environment["PREFECT_API_URL"] = prefect_server
    bucket = s3.new_bucket()
    bare_home.environment["EAS_STORE_OPTIONS"] = json.dumps(s3.options)
    wrong = bare_home.eas("store", "init", "--url", "s3://mistyped-bucket/plato", code=2)
    assert "s3://mistyped-bucket/plato cannot be written" in wrong.stderr
    assert f"file store {bucket}: writable" in bare_home.eas("store", "init", "--url", bucket).stdout

    del bare_home.environment["EAS_STORE_OPTIONS"]  # saved, readable by its owner alone
    saved = bare_home.folder / "eas-data" / "settings.json"
    assert saved.stat().st_mode & 0o077 == 0
    specs = {"duration": 2, "orbital_period": 1, "sampling_cadence": 600, "planet_radius": 0.5}
    synthesis = {"task": "synthesis_batman", "outputs": {"lightcurve": "a.lc"}, "specs": specs}
    chain = bare_home.chain(synthesis, {"task": "verify", "inputs": {"lightcurve": "a.lc"}})
    done = bare_home.eas("run", chain, "--workers", "2")
    files = s3.files()
    versions = bare_home.rows("SELECT store_path, size FROM product_versions")
    assert versions
    for each in versions:
        assert files.info(f"{bucket}/{each.store_path}")["size"] == each.size
    shown = done.stdout + done.stderr + (bare_home.folder / "eas-data" / "logs" / "workers.log").read_text()
    assert "testing-secret" not in shown
    assert not (bare_home.folder / "eas-data" / "store").exists()


def test_with_a_store_that_cannot_be_written_nothing_is_submitted(bare_home: Home, s3: S3) -> None:
    bare_home.environment["EAS_STORE_OPTIONS"] = json.dumps(s3.options)
    bare_home.environment["EAS_STORE_URL"] = "s3://mistyped-bucket/plato"
    chain = bare_home.chain({"task": "null", "duration": 0})
    refused = bare_home.eas("run", chain, "--workers", "1", code=2)
    assert "s3://mistyped-bucket/plato cannot be written" in refused.stderr
    assert bare_home.rows("SELECT id FROM jobs") == []
