"""``eas show``: the full report on one task."""

from __future__ import annotations

import json
from typing import Any

import click

from eas import web_addresses
from eas.app import App
from eas.cli import text
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from eas.cli.task_logs import log_lines
from eas.plain_text import duration_text, size_text, time_text, visible
from eas.taskdb.queries.task_report import task_report


@click.command()
@click.argument("task", metavar="TASK", type=click.IntRange(1))
@json_option
def show(task: int, as_json: bool) -> None:
    """Show one task: state, why it waits, settings, metadata, files with their makers, attempts and logs.

    TASK is a task's id, as printed by `eas report tree` and in messages about tasks.
    """
    with App.load() as app:
        now = app.database.now()
        found = app.database.fetch(lambda connection: task_report(connection, task, now, app.settings.lease))
        link = web_addresses.link(app.settings.web_url, web_addresses.task(task))
    if as_json:
        print_json(found)
        return
    _head(found, link)
    _files("inputs", found["inputs"])
    _files("outputs", found["outputs"])
    for attempt in found["attempts"]:
        _attempt(attempt)


def _head(task: dict[str, Any], link: str) -> None:
    echo(f"task {task['id']}  {task['label']}  {task['state']}", fg=text.STATE_COLOURS.get(task["state"]))
    job = task["job"]
    above = " > ".join(f"{each['label']} ({each['id']})" for each in task["above"])
    text.pairs([
        ("job", f"{job['id']} ({job['name']}), {job['state']}"), ("below", above), ("descriptor", task["path"]),
        ("created", time_text(task["created_at"])), ("ended", time_text(task["ended_at"])), ("reason", task["reason"]),
        ("page", link),
    ])  # fmt: skip
    if task["waits_for"]:
        text.heading("waits for")
        for each in task["waits_for"]:
            echo(f"  {visible(each['text'])}")
            if each["hint"]:
                echo(f"    -> {visible(each['hint'])}")
    for title in ("settings", "metadata", "output_metadata"):
        if task[title]:
            text.heading(title.replace("_", " "))
            text.pairs((name, value if isinstance(value, str | float) else json.dumps(value, ensure_ascii=False))
                       for name, value in task[title].items())  # fmt: skip
    if task["children"]:
        text.heading("children")
        text.table(
            ("task", "label", "state"),
            [(row["id"], row["label"], row["state"]) for row in task["children"]],
            "",
            important=("task", "state", "label"),
        )
        if task["more_children"]:
            echo(f"  ... more: eas report tree --job {job['id']}")


def _files(title: str, files: list[dict[str, Any]]) -> None:
    if not files:
        return
    text.heading(title)
    rows = []
    for file in files:
        version, maker = file["version"] or {}, file["maker"]
        quality = {True: "passed", False: "failed"}.get(version.get("passed_qc"), "")  # type: ignore[arg-type]
        made_by = f"task {maker['id']} {maker['label']}, {maker['state']}" if maker else "no task"
        rows.append((file["semantic"], file["name"], version.get("id", "none yet"), size_text(version.get("size")),
                     version.get("sha256", "")[:12], quality, made_by))  # fmt: skip
    text.table(("name", "file", "version", "size", "SHA-256", "QC", "made by"), rows, "",
               important=("name", "file", "size", "QC"))  # fmt: skip


def _attempt(attempt: dict[str, Any]) -> None:
    text.heading(f"attempt {attempt['number']} (id {attempt['id']}): {attempt['state']}")
    used = ""
    if attempt["wall"] is not None:
        used = (f"wall {duration_text(attempt['wall'])}, CPU {duration_text(attempt['cpu_children'])}, "
                f"memory {attempt['peak_memory']:.0f} MB")  # fmt: skip
    text.pairs([
        ("queued", time_text(attempt["queued_at"])), ("started", time_text(attempt["started_at"])),
        ("ended", time_text(attempt["ended_at"])), ("worker", attempt["worker_id"]), ("host", attempt["host"]),
        ("used", used), ("reason", attempt["reason"]),
    ])  # fmt: skip
    for check in attempt["checks"]:
        verdict, colour = ("passed", None) if check["passed"] else ("FAILED", "red")
        echo(f"  QC {verdict}: {check['name']} {check['detail']}".rstrip(), fg=colour)
    for entry in attempt["log"]:
        for line in log_lines(entry):
            echo(f"  {line}")
    if attempt["more_log"]:
        echo("  ... the rest: eas logs TASK")
