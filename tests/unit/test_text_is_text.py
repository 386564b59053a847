"""Whatever users name is shown as text: no markup, control character, mark, formula or tag in it has an effect."""

from __future__ import annotations

import csv
import io
import logging
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from eas.cli.display import summary_table
from eas.cli.output import echo
from eas.cli.terminal import Terminal
from eas.orchestration.job_summary import Failure, JobSummary
from eas.plain_text import RecordFormatter, markdown, one_line, visible, without_formula
from eas.states import TaskState
from eas.web.rendering import cell
from flows.job_summary import markdown as summary_as_markdown
from reports import tables
from reports.files import csv_text
from reports.pictures import outcome_picture
from reports.progress_picture import progress_picture
from reports.timeline import timeline_picture

CLI = Path(__file__).parents[2] / "eas" / "cli"
HOSTILE = [
    "[/x]",
    "[red]no[/red]",
    ":smile:",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egpj.exe",
    "a\u2066b\u200f",
    "one\n2026-11-26 12:00:00 INFO forged",
    "a\u2028b",
    "\x9b31m",
    "# title",
    "**bold** _x_ `code`",
    "<script>alert(1)</script>",
    "[link](javascript:alert(1))",
    "![x](http://127.0.0.1/x.png)",
    "a | b",
    "$\\frac{$",
    "=1+1",
    "\ufeff",
]
SUMMARY = {"job_id": 1, "seed": "1", "state": "failed", "wall_clock": 1.0}


def summary(name: str) -> JobSummary:
    failure = Failure(3, "null", name, TaskState.FAILED, name)
    counts = {"null": {TaskState.FAILED: 1}}
    return JobSummary(job_name=name, counts=counts, failures=[failure], **SUMMARY)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_names_as_they_are(name: str, terminal: bool) -> None:
    out = io.StringIO()
    console = Terminal(file=out, width=200, force_terminal=terminal, color_system=None)
    console.print(summary_table(summary(name)))
    console.print(f"job {name}", highlight=False, soft_wrap=True)
    console.out(f"job {name}")
    tables.show(pd.DataFrame({"job_name": [name], "task_type": ["null"]}), console, title=name)
    shown = out.getvalue()
    assert f"job {visible(name)}" in shown.replace("\n        ", "\n")
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert one_line(name) in shown


@pytest.mark.parametrize("name", HOSTILE)
def test_commands_print_names_as_they_are(name: str) -> None:
    @click.command()
    def command() -> None:
        echo(f"error: {name}", err=True)

    shown = CliRunner().invoke(command).stderr
    assert shown == f"error: {visible(name)}\n"
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_commands_print_in_no_other_way() -> None:
    for path in CLI.glob("*.py"):
        text = path.read_text()
        assert path.name == "output.py" or ("click.echo(" not in text and "click.secho(" not in text), path
        assert path.name == "terminal.py" or " Console(" not in text, path


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_forges_a_line_of_a_log(name: str) -> None:
    record = logging.makeLogRecord({"msg": "job %s", "args": (name,), "levelname": "INFO"})
    first, *others = RecordFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first.startswith("INFO job ")
    assert all(line.startswith("    ") for line in others)
    assert all(character.isprintable() for line in (first, *others) for character in line)


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_they_are(name: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True})
    [_, inline, _] = parser.parse(f"job {markdown(name)}")
    assert "".join(token.content for token in inline.children or []) == f"job {one_line(name)}"
    assert {token.type for token in inline.children or []} <= {"text", "text_special"}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_summary_of_a_job_holds_no_tag_and_no_link_of_a_name(name: str) -> None:
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(summary_as_markdown(summary(name), [], {}))
    assert "<script" not in html
    assert "<a " not in html
    assert "<img" not in html
    assert html.count("<h1>") == 1


@given(st.text())
def test_escaped_text_keeps_every_character(text: str) -> None:
    assert visible(text).encode() == visible(visible(text)).encode()
    assert len(visible(text)) >= len(text)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isascii()])
def test_pictures_show_names_as_they_are(name: str) -> None:
    frame = pd.DataFrame({"task_type": ["t"], "x": [name], "outcome": ["PASS"]})
    assert outcome_picture(frame, "x", f"{name} {name}")
    states = {
        state: [1] for state in ("done", "running", "failed", "stalled", "blocked", "cancelled", "queued", "waiting")
    }
    assert progress_picture(pd.DataFrame({"job_name": [name], "task_type": ["null"], "total": [8], **states}))
    attempts = {"worker": ["w"], "host": [name], "task_type": ["null"], "state": ["done"]}
    times = {"start_time [s]": [1.0], "end_time [s]": [2.0]}
    assert timeline_picture(pd.DataFrame({**attempts, **times}), 3.0, name)


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "-", "=cmd|' /C calc'!A0"])
@pytest.mark.parametrize("others", [[], [1.5, None]], ids=["text column", "mixed column"])
def test_no_cell_of_a_csv_file_is_a_formula(text: str, others: list[object]) -> None:
    frame = pd.DataFrame({text: np.array([text, *others], dtype=object)})
    head, first, *_ = csv.reader(io.StringIO(csv_text(frame)))
    assert head[0].startswith("'")
    assert first[0].startswith("'")
    assert first[0][1:] == text.replace("\r", "\n")


@pytest.mark.parametrize("others", [[], [1.5, None]], ids=["text column", "mixed column"])
@pytest.mark.parametrize(("value", "shown"), [("false", "=1+1"), (" Off ", "=1+1"), ("true", "'=1+1"), ("", "'=1+1")])
def test_the_prefix_can_be_switched_off(
    value: str, shown: str, others: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAS_CSV_FORMULA_PREFIX", value)
    frame = pd.DataFrame({"a": np.array(["=1+1", *others], dtype=object)})
    assert csv_text(frame).splitlines()[1] == shown
    assert cell("=1+1") == shown


def test_numbers_of_a_csv_file_are_numbers() -> None:
    frame = pd.DataFrame({"a": [-1.5, 1e300], "b": np.array([-1, "-2"], dtype=object), "c": np.array(["-3", "+4e5"])})
    assert csv_text(frame) == "a,b,c\n-1.5,-1,-3\n1e+300,-2,+4e5\n"


@given(st.text())
def test_the_prefix_of_a_cell_can_be_undone(text: str) -> None:
    cell = without_formula(text)
    assert (cell[1:] if cell.startswith("'") else cell) == text


def test_an_error_message_of_a_command_holds_no_escape_sequence(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "eas", "validate", "\x1b[31mred\u202e.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "\\x1b[31mred\\u202e.json" in run.stderr
    assert "\x1b" not in run.stderr
