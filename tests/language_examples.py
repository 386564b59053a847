"""The examples of the page of the chain language: valid and broken ones, with the messages that the page shows.

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
WARNING = "warning: "
OUTCOME = "after the run: "


def examples(page: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Give each example with the text that follows it: messages, or the outcome of a run that fails."""
    for found in EXAMPLE.finditer(page):
        yield json.loads(found[1]), found[2] or ""


def runs(text: str) -> bool:
    """Return whether an example followed by ``text`` is valid."""
    return not text or text.startswith((WARNING, OUTCOME))


def use_empty_system(home: Path) -> None:
    """Work on a new task database: only where there is one, it is known which files other jobs make."""
    eas.connect(home=home)
    eas.submit({"job_name": "first", "task_list": [{"task": "null", "duration": 0}]})


def message_of(chain: dict[str, Any]) -> str:
    """Return errors or warnings of a chain, as `eas validate` prints them; empty where there are none.

    A valid chain is submitted: a later example may read its files.
    """
    try:
        warnings = [f"{WARNING}{each}\n" for each in eas.validate(chain)]
    except ChainError as error:
        return "\n".join(str(problem) for problem in error.problems) + "\n"
    eas.submit(chain, seed=1)
    return "".join(warnings)


def outcome_of(summary: eas.JobSummary) -> str:
    """Return which tasks of a job did not become done, and why."""
    lines = [f"{OUTCOME}{each.label} is {each.state}: {each.reason}\n" for each in summary.failures]
    return re.sub(r" \(task \d+\)", "", "".join(lines))


def with_messages(page: str) -> str:
    """Return a page with the messages of its examples as they are now; outcomes of runs stay."""

    def again(found: re.Match[str]) -> str:
        message = message_of(json.loads(found[1]))
        if (found[2] or "").startswith(OUTCOME):
            message = found[2]
        return f"```json\n{found[1]}```\n" + (f"\n```text\n{message}```\n" if found[2] is not None else "")

    return EXAMPLE.sub(again, page)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        use_empty_system(Path(folder))
        TEXT = with_messages(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(TEXT, encoding="utf-8")
