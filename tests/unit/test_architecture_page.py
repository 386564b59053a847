"""The map of the packages in docs/explanation/architecture.md is that of the tree."""

import re

import pytest

from tests import docs_links
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
OVERVIEW = PAGE[: PAGE.index("## Guarantees")]


def test_the_map_names_every_module_and_no_other():
    assert len(docs_links.listed_modules()) > 150
    assert docs_links.missing_from_architecture() == []


def test_every_path_of_the_page_exists():
    named = re.findall(r"`((?:eas|flows|blocks|reports|infra|tests)/[\w/]*(?:\.py)?)`", PAGE)
    assert [path for path in named if not (ROOT / path).exists()] == []


TOPICS = {
    "claiming": "claim",
    "expansion": "expansion",
    "leases": "lease",
    "retry": "retry",
    "cancellation": "cancel",
    "backup": "backup",
    "the progress query": "progress",
    "scaling": "scaling",
}
"""Topics of the page, and what the names of their modules contain."""


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_found_by_the_names_of_files_alone(topic: str) -> None:
    (row,) = re.findall(rf"^\| [^|\n]*{topic}[^|\n]* \| (.*) \|$", OVERVIEW, re.MULTILINE | re.IGNORECASE)
    first = re.findall(r"`([\w/]+\.py)`", row)[0]
    assert TOPICS[topic] in first.rsplit("/", 1)[1]
    assert (ROOT / first).is_file()
