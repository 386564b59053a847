"""The pages that the code determines are up to date, and leave nothing out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import blocks
from docs.generate import __main__ as reference
from docs.generate import columns, database, deployments
from eas.settings import SAVED, VARIABLES, Settings, save
from eas.taskdb.tables import metadata
from tests.processes import ROOT

INTERNAL = {
    "EAS_ALIVE_FILE", "EAS_DEPLOYMENT", "EAS_NAMESPACE", "EAS_FRESH_DIR", "EAS_SERVICES_DIR", "EAS_SERVICES_SUITE",
    "EAS_WORKER_CHILD", "EAS_WORKER_FAMILY",
}  # fmt: skip
"""Variables that processes of EAS set for one another, and those of the tests."""


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_says_what_the_code_says(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert text == reference.PAGES[name](), "write it again: make reference"


def test_every_variable_that_the_code_reads_is_documented() -> None:
    folders = ("eas", "flows", "blocks", "infra", "reports")
    sources = [path.read_text(encoding="utf-8") for each in folders for path in (ROOT / each).rglob("*.py")]
    read = set(re.findall(r'"(EAS_[A-Z_]+[A-Z])"', "\n".join(sources)))
    known = {f"EAS_{name.upper()}" for name in Settings.model_fields} | set(VARIABLES)
    assert read <= known | INTERNAL
    assert set(VARIABLES) <= read, "a variable that nothing reads is documented"


def test_the_settings_that_are_saved_are_marked(tmp_path: Path) -> None:
    assert set(json.loads(save(Settings(home=tmp_path)).read_text())) == set(SAVED)


def test_a_table_has_as_many_cells_in_each_row() -> None:
    for page in reference.PAGES.values():
        width = 0
        for line in page().splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert not width or cells in (0, width), line
            width = cells


def test_every_described_column_is_one_of_a_report() -> None:
    used = {name.partition(" [")[0] for _, _, names in columns.TABLES for name in names}
    assert set(columns.MEANINGS) == used


def test_every_table_deployment_and_block_has_a_section() -> None:
    schema, deployed = database.page(), deployments.page()
    assert re.findall(r"^## (\w+)$", schema, re.MULTILINE) == [each.name for each in metadata.sorted_tables]
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert len(re.findall(r"^## [a-z-]+/[a-z0-9-]+$", deployed, re.MULTILINE)) == len(declared)
    assert set(re.findall(r"^### (EAS\w+)$", deployed, re.MULTILINE)) == {
        name for name in blocks.__all__ if name.startswith("EAS")
    }


def test_what_a_table_is_for_is_written_once() -> None:
    below = {name for name, text in database.descriptions().items() if text != database.MEANINGS.get(name)}
    assert below | set(database.MEANINGS) == {each.name for each in metadata.sorted_tables}
    assert not below & set(database.MEANINGS)
