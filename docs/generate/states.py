"""Generate the page about states and exit codes from the enumerations and error classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from docs.generate.markdown import NOTE, cell
from eas.errors import EASError
from eas.states import AttemptState, JobState, TaskState

TASKS = {
    TaskState.WAITING: "A dependency is not complete, the control task is not expanded, or an operator withdrew the "
    "task from the queue.",
    TaskState.QUEUED: "The task is on the job queue and waits for a worker or for the time of its next attempt.",
    TaskState.RUNNING: "A worker runs the task; for a control task: some children have not ended.",
    TaskState.DONE: "An attempt succeeded and passed QC; for a control task: all children are done.",
    TaskState.FAILED: "The last attempt failed or did not pass QC, or the task could not be configured; for a control "
    "task: a child did not succeed.",
    TaskState.STALLED: "Workers of the task were lost more often than `--max-stalls` allows.",
    TaskState.BLOCKED: "A dependency can never complete; the reason of the task names the dependency.",
    TaskState.CANCELLED: "An operator cancelled the job.",
}
ATTEMPTS = {
    AttemptState.QUEUED: "On the job queue.",
    AttemptState.RUNNING: "A worker has claimed the attempt and sends heartbeats.",
    AttemptState.DONE: "The task's code succeeded and QC passed: files and metadata are visible to other tasks.",
    AttemptState.FAILED: "The task's code or QC failed, or the child process was lost.",
    AttemptState.STALLED: "The worker sent no heartbeats; another attempt follows.",
    AttemptState.CANCELLED: "The job was cancelled, or the attempt was withdrawn from the queue.",
}
JOBS = {
    JobState.SUBMITTED: "No process has driven the job since it was submitted or rescheduled.",
    JobState.RUNNING: "An orchestrator drives the job, or drove it until an interruption.",
    JobState.DONE: "Every task is done.",
    JobState.FAILED: "The job has ended, and some tasks failed, stalled or are blocked.",
    JobState.CANCELLED: "An operator cancelled the job.",
}
EXIT_CODES = {
    0: "Success.",
    1: "Some tasks did not succeed, or an error occurred while running.",
    2: "The request was invalid; nothing was changed.",
    3: "A service (database, message broker, Prefect server) could not be reached.",
    130: "Interrupted by Ctrl-C (SIGINT).",
    143: "Ended by SIGTERM.",
}


def page() -> str:
    """Return the page about states and exit codes."""
    lines = ["# States and exit codes", "", NOTE, ""]
    lines += _states("State of a task", TASKS)
    lines += ["A *final* state changes only if an operator reschedules the task (`eas reschedule`).", ""]
    lines += _states("State of a scheduling attempt", ATTEMPTS)
    lines += _states("State of a job", JOBS)
    lines += ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    lines += ["", "## Errors", ""]
    lines += [
        "Every error of EAS is an `EASError`, with a message and a `hint`. Its class gives the exit code of a command:",
        "",
    ]
    lines += ["| class | base class | exit code | raised if |", "|---|---|---|---|", *_errors(EASError)]
    return "\n".join(lines) + "\n"


def _states(title: str, meanings: Mapping[StrEnum, str]) -> Iterator[str]:
    yield from (f"## {title}", "", "| state | final | meaning |", "|---|---|---|")
    for state, meaning in meanings.items():
        yield f"| *{state.value}* | {'yes' if getattr(state, 'final', False) else 'no'} | {meaning} |"
    yield ""


def _errors(parent: type[EASError]) -> Iterator[str]:
    for each in sorted(parent.__subclasses__(), key=lambda kind: kind.__name__):
        if each.__module__ == EASError.__module__:  # others are details of a module
            summary = (each.__doc__ or "").strip().splitlines()[0]
            yield f"| `{each.__name__}` | `{parent.__name__}` | {each.exit_code} | {cell(summary)} |"
            yield from _errors(each)
