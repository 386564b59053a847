"""The map of the packages in docs/explanation/architecture.md is that of the tree."""

import re

from tests import docs_links
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")


def test_the_map_names_every_module_and_no_other():
    assert len(docs_links.modules_of_the_map()) > 150
    assert docs_links.differences_of_the_map() == []


def test_every_path_of_the_page_exists():
    named = re.findall(r"`((?:eas|flows|blocks|reports|infra|tests)/[\w/]*(?:\.py)?)`", PAGE)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_newcomer_finds_each_topic():
    topics = PAGE[: PAGE.index("## Packages and modules")].lower()
    for topic in (
        "claiming",
        "expansion",
        "leases",
        "retry",
        "cancellation",
        "backup",
        "the progress query",
        "scaling",
    ):
        assert re.search(rf"^\| [^|]*{topic}", topics, re.MULTILINE), topic
