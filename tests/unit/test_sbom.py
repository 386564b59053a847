"""The bill of materials lists every locked package with its hashes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from infra import images
from infra.images import sbom
from tests.processes import MAX_TIMEOUT, ROOT


@pytest.mark.slow
@pytest.mark.timeout(MAX_TIMEOUT)
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
    tls = {each["name"] for each in _components(sbom.write(Path(environment, "bin", "cyclonedx-py"), tmp_path, "tls"))}
    locked = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert {"transitleastsquares", "prefect", "astropy", "s3fs"} <= tls < set(locked)
    assert not {"psls", "pytest"} & tls


def _components(path: Path) -> list[dict[str, str]]:
    return list(json.loads(path.read_text())["components"])


def test_the_images_install_what_their_bills_of_materials_list() -> None:
    text = (ROOT / "infra" / "images" / "Containerfile").read_text(encoding="utf-8")
    installed = {tuple(words.split()) for words in re.findall(r"/opt/tools/bin/install ([a-z0-9 -]+?)(?: \\|\n)", text)}
    assert installed == {images.CORE_EXTRAS} | {extras for extras in images.TARGETS.values() if extras}


def test_the_developers_environment_has_no_slow_json_schema_formats() -> None:
    """With rfc3987-syntax each process that imports Prefect takes a second longer."""
    assert "rfc3987" not in (ROOT / "requirements.txt").read_text()
