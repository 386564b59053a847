"""The outcome of a job as an artifact: counts, failures and hints, files, pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from eas import web_addresses
from eas.orchestration.job_summary import Failure, JobSummary
from eas.plain_text import duration_text
from eas.plain_text import markdown as escaped
from eas.states import TaskState
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import reports
from eas.web_addresses import link
from flows.artifacts import code, indented, linked, picture
from reports import assemble
from reports.files import write_bytes
from reports.job_reports import write_job_reports
from reports.timeline import timeline_picture

MAX_FAILURES = 20
"""Maximum number of different failures; the error report lists all."""
MAX_REASON_CHARS = 600

HINTS = {
    TaskState.FAILED: "see the task run's log, or `eas show TASK`; when its cause is fixed: "
    "`eas reschedule --job-id {job}`",
    TaskState.STALLED: "its workers were lost: check them and their memory with `eas report workers --all`, then "
    "`eas reschedule --job-id {job}`",
    TaskState.BLOCKED: "fix the task that blocks it; `eas reschedule --job-id {job}` also retries this one",
    TaskState.CANCELLED: "`eas reschedule --job-id {job}` continues a cancelled job",
}


def report_paths(
    database: TaskDatabase, summary: JobSummary, folder: Path, web_url: str = ""
) -> tuple[str, list[Path]]:
    """Write a job's reports and its timeline into ``folder``; return its summary as markdown, and the files.

    Raises EASError if they cannot be written.
    """
    paths = write_job_reports(database, summary.job_id, folder)
    paths.append(write_bytes(folder / "timeline.png", _timeline(database, summary)))
    pictures = {path.stem: path.read_bytes() for path in paths if path.suffix == ".png"}
    return markdown(summary, paths, pictures, web_url), paths


def _timeline(database: TaskDatabase, summary: JobSummary) -> bytes:
    now = database.now()
    with reports.snapshot(database) as connection:
        frames = list(assemble.timeline(connection, reports.Filters(job_id=summary.job_id), now))
    title = f"{summary.job_name} (job {summary.job_id}): tasks by worker and time"
    return timeline_picture(pd.concat(frames, ignore_index=True), now, title)


def markdown(summary: JobSummary, paths: Iterable[Path], pictures: Mapping[str, bytes], web_url: str = "") -> str:
    """Return a job's summary, with links to the pages of ``eas web`` if their address is given."""
    page = link(web_url, web_addresses.job(summary.job_id))
    title = linked(f"{escaped(summary.job_name)} (job {summary.job_id})", page)
    took = "" if summary.wall_clock is None else f" in {duration_text(summary.wall_clock)}"
    parts = [
        f"# {title}: {summary.state}",
        f"{escaped(summary.message)}{took}." + (f" Seed {escaped(summary.seed)}." if summary.seed else ""),
        _counts(summary.counts),
    ]
    if summary.failures:
        parts += ["## Failures and hints", *_failures(summary, web_url)]
    parts += [picture(name, png) for name, png in pictures.items()]
    parts += ["## Files", "\n".join(f"- {code(str(path))}" for path in paths)]
    return "\n\n".join(parts)


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return tasks by type and state as a table; omit states without tasks."""
    states = [state for state in TaskState if any(of_type.get(state) for of_type in counts.values())]
    lines = [f"| task type | {' | '.join(states)} |", f"|---|{'---:|' * len(states)}"]
    for task_type, of_type in counts.items():
        lines.append(f"| `{task_type}` | {' | '.join(str(of_type.get(state) or '') for state in states)} |")
    return "\n".join(lines)


def _failures(summary: JobSummary, web_url: str) -> list[str]:
    """Return a paragraph for each kind of failure: equal reasons are listed once."""
    kinds: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in summary.failures:
        kinds.setdefault((failure.state, failure.task_type, failure.explanation[:MAX_REASON_CHARS]), []).append(failure)
    # Failures come before the tasks that they block.
    listed = sorted(kinds.items(), key=lambda item: (item[0][0] == TaskState.BLOCKED, -len(item[1])))
    parts = []
    for (state, task_type, reason), found in listed[:MAX_FAILURES]:
        head = f"**{len(found)} {escaped(task_type)} {state}**: {_names_of_failures(found, web_url)}"
        hint = HINTS[TaskState(state)].format(job=summary.job_id)
        parts += [head, indented(reason or "(no reason was recorded)"), f"→ {hint}"]
    if len(listed) > MAX_FAILURES:
        left_out = Counter(state for (state, _, _), found in listed[MAX_FAILURES:] for _ in found)
        what = ", ".join(f"{count} {state}" for state, count in left_out.items())
        parts.append(f"and {what} for other reasons: `eas report errors`")
    return parts


def _names_of_failures(failures: Sequence[Failure], web_url: str) -> str:
    pages = [link(web_url, web_addresses.task(each.task_id)) for each in failures[:3]]
    named = zip(failures, pages, strict=False)
    shown = ", ".join(f"{linked(f'task {each.task_id}', page)}, {escaped(each.label)}" for each, page in named)
    return shown + (f" and {len(failures) - 3} more" if len(failures) > 3 else "")
