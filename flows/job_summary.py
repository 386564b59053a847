"""What became of a job, as an artifact: counts, failures and what to do, files, pictures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from eas.control.summary import Failure, Summary
from eas.states import TaskState
from eas.taskdb import reading
from eas.taskdb.engine import TaskDatabase
from flows.artifacts import indented, picture
from reports import assemble
from reports.job_reports import write_job_reports
from reports.timeline import timeline_picture
from reports.write import write_bytes

MOST_FAILURES = 20
"""Different failures that are shown; all of them are in the report of errors."""
LONGEST_REASON = 600

CURES = {
    TaskState.FAILED: "see the task run's log; when its cause is mended: `eas reschedule --job-id {job}`",
    TaskState.STALLED: "its workers vanished: see `eas report workers --all` and their memory, then "
    "`eas reschedule --job-id {job}`",
    TaskState.BLOCKED: "mend what it waits for: `eas reschedule --job-id {job}` brings it back, too",
    TaskState.CANCELLED: "`eas reschedule --job-id {job}` brings a cancelled job back to life",
}


def publishable(database: TaskDatabase, summary: Summary, folder: Path) -> tuple[str, list[Path]]:
    """Write a job's reports and its timeline into ``folder``; return its summary as markdown, and the files.

    Raises EASError where they cannot be written.
    """
    paths = write_job_reports(database, summary.job_id, folder)
    paths.append(write_bytes(folder / "timeline.png", _timeline(database, summary)))
    pictures = {path.stem: path.read_bytes() for path in paths if path.suffix == ".png"}
    return markdown(summary, paths, pictures), paths


def _timeline(database: TaskDatabase, summary: Summary) -> bytes:
    now = time.time()
    with reading.snapshot(database) as connection:
        frames = list(assemble.timeline(connection, reading.Filters(job_id=summary.job_id), now))
    title = f"{summary.job_name} (job {summary.job_id}): who ran what when"
    return timeline_picture(pd.concat(frames, ignore_index=True), now, title)


def markdown(summary: Summary, paths: Iterable[Path], pictures: Mapping[str, bytes]) -> str:
    """Return a job's summary for people."""
    took = "" if summary.wall_clock is None else f" in {_duration(summary.wall_clock)}"
    parts = [
        f"# {summary.job_name} (job {summary.job_id}): {summary.state}",
        f"{summary.message}{took}.",
        _counts(summary.counts),
    ]
    if summary.failures:
        parts += ["## What went wrong, and what to do", *_failures(summary)]
    parts += [picture(name, png) for name, png in pictures.items()]
    parts += ["## Files", "\n".join(f"- `{path}`" for path in paths)]
    return "\n\n".join(parts)


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return tasks by type and state as a table; states that no task is in have no column."""
    states = [state for state in TaskState if any(of_type.get(state) for of_type in counts.values())]
    lines = [f"| task type | {' | '.join(states)} |", f"|---|{'---:|' * len(states)}"]
    for task_type, of_type in counts.items():
        lines.append(f"| `{task_type}` | {' | '.join(str(of_type.get(state) or '') for state in states)} |")
    return "\n".join(lines)


def _failures(summary: Summary) -> list[str]:
    """Return a paragraph for each kind of failure: the same reason is told once."""
    kinds: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in summary.failures:
        kinds.setdefault((failure.state, failure.task_type, _last_line(failure.reason)), []).append(failure)
    # What blocks others comes before what is blocked by it.
    listed = sorted(kinds.items(), key=lambda item: (item[0][0] == TaskState.BLOCKED, -len(item[1])))
    parts = []
    for (state, task_type, reason), found in listed[:MOST_FAILURES]:
        head = f"**{len(found)} {task_type} {state}**: {_which(found)}"
        cure = CURES[TaskState(state)].format(job=summary.job_id)
        parts += [head, indented(reason or "(no reason was recorded)"), f"→ {cure}"]
    if len(listed) > MOST_FAILURES:
        left_out = Counter(state for (state, _, _), found in listed[MOST_FAILURES:] for _ in found)
        what = ", ".join(f"{count} {state}" for state, count in left_out.items())
        parts.append(f"and {what} for other reasons: `eas report errors`")
    return parts


def _which(failures: Sequence[Failure]) -> str:
    shown = ", ".join(f"task {each.task_id}, {each.label}" for each in failures[:3])
    return shown + (f" and {len(failures) - 3} more" if len(failures) > 3 else "")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:LONGEST_REASON] if lines else ""


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
