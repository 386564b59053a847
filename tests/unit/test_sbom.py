"""The bill of materials lists every locked package with its hashes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.processes import LIMIT, ROOT


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
def test_every_locked_package_is_in_the_bill_of_materials_with_its_hashes(tmp_path: Path) -> None:
    commands = subprocess.run(["make", "-n", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    environment = str(tmp_path / "environment")
    for line in commands.splitlines():
        if "requirements" in line or "uv venv" in line:
            here = line.replace("build/sbom", environment).replace("dist/", f"{tmp_path}/")
            subprocess.run(here.split(), cwd=ROOT, check=True, capture_output=True)
    for lock, name in (("requirements.txt", "sbom.json"), ("requirements-run.txt", "sbom-run.json")):
        components = json.loads((tmp_path / name).read_text())["components"]
        locked = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / lock).read_text(), re.MULTILINE)
        assert {each["name"].lower() for each in components} == {each.lower() for each in locked}
        assert all(each.get("externalReferences") and "hashes" in json.dumps(each) for each in components)


def test_the_developers_environment_has_no_slow_json_schema_formats() -> None:
    """With rfc3987-syntax each process that imports Prefect takes a second longer."""
    assert "rfc3987" not in (ROOT / "requirements.txt").read_text()
