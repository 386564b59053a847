"""The examples of the page of the chain language, valid and broken ones, with the messages that it shows.

``python -m tests.language_examples`` writes the messages again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import eas
from eas.errors import ChainError
from tests.processes import ROOT

PAGE = ROOT / "docs" / "reference" / "chain_language.md"
EXAMPLE = re.compile(r"^```json\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def examples(page: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Give each example with the message that follows it; a valid one has none."""
    for found in EXAMPLE.finditer(page):
        yield json.loads(found[1]), found[2] or ""


def use_empty_system(home: Path) -> None:
    """Work on a new task database: only where there is one, it is known which files other jobs make."""
    eas.connect(home=home)
    eas.submit({"job_name": "first", "task_list": [{"task": "null", "duration": 0}]})


def message_of(chain: dict[str, Any]) -> str:
    """Return what is wrong with a chain, a line for each, as `eas validate` prints it; empty where nothing is."""
    try:
        eas.validate(chain)
    except ChainError as error:
        return "\n".join(str(problem) for problem in error.problems) + "\n"
    return ""


def with_messages(page: str) -> str:
    """Return a page with the messages of its broken examples as they are now."""

    def again(found: re.Match[str]) -> str:
        message = message_of(json.loads(found[1]))
        return f"```json\n{found[1]}```\n" + (f"\n```text\n{message}```\n" if found[2] is not None else "")

    return EXAMPLE.sub(again, page)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        use_empty_system(Path(folder))
        TEXT = with_messages(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(TEXT, encoding="utf-8")
