"""Check that the words that were replaced by the field's terms occur nowhere: ``python -m tests.vocabulary``.

The list maps each pattern to what to write instead. The changelog keeps the words of its time, and a
released migration, and its tests, the names of its tables.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXEMPT = (
    "CHANGELOG.md", "requirements.txt", "tests/vocabulary.py", "eas/taskdb/migrations/versions/", "tests/migration/",
    "tests/vendor/",
)  # fmt: skip
BINARY = {".png", ".gz", ".npz", ".ico"}

NAMES = {
    r"eas[./]control\b": "orchestration, operations, maintenance",
    r"Growth|growth\.py": "expansion, JobExpander",
    r"Outside|orphans": "ExternalInputs, unresolved inputs",
    r"(?<!_)machine\.py": "process_identity",
    r"plain_names?|plain names": "published name, publish",
    r"show_again": "republish",
    r"(?<!release_)lost_workers": "release_lost_workers",
    r"bury|buried|buries": "release",
    r"reaper\.tend|_keep_house|house ?keeping": "maintenance, run_due",
    r"class Summary|import Summary": "JobSummary",
    r"taskdb[./](loads|overview|reading)|reading_live": "taskdb/queries: scaling, status, reports, live",
    r"duties": "periodic_locks",
    r"new_products": "dynamic_outputs",
    r"SQLAttemptStore": "AttemptClaims",
    r"(?<!in )(?<!in[-_])flights?|Flights?": "in_flight, PendingAttempt",
    r"[Ss]urroundings": "sandbox",
    r"warm\.py|WarmChild": "child_process, ChildProcess; jit_cache",
    r"worker[./](attempt|channel|loop)|attempt\.Runner": "child_runner, child_ipc, worker",
    r"scalars\.py": "result_validation",
    r"recipes?|jsontext|chains[./]counts": "compiled_descriptor, json_reader, task_counts",
    r"eas_log_shown": "forward_logs_to_flow_run",
    r"told|@refused": "fail_on_eas_error; is notified, receives, is informed",
    r"Happened|Account|Tally|_Seen|Wish": "EventKind, RunStats, QueueSnapshot, DeploySpec",
    r"reports[./](cells|activity|write)": "csv_cells, live_tables, files",
    r"[Cc]ures?|[Cc]ured": "hint",
    r"take_in|enlist|supplied|lacking": "apply, mark_ready, input_available, input_unavailable",
    r"[Rr]esting|rests|at rest": "paused_on_withdrawn_tasks; pauses",
}
"""Names of modules, classes and functions."""

PHRASES = {
    r"what became of": "the outcome of",
    r"where an? \w+ stands": "the state of",
    r"somebody|someone else": "another process, an external source",
    r"let(s|ting)? go of": "close, release",
    r"for who cannot": "single-pass variant",
    r"way of the data|data's way": "data flow",
    r"tells? that": "mark as, report that",
    r"let others drive|others drive": "release the job's lease",
    r"counts up": "increments",
    r"as ever": "as usual",
    r"anew": "again",
    r"nobody": "no worker, no process, no user",
    r"who(so)?ever": "the caller, the process that",
    r"so many": "the number of, that many",
    r"the least there": "minimum",
    r"# stays": "keeps running",
    r"(order|nothing), dependencies do": "a task runs when its inputs exist",
    r"what is true": "the record",
    r"clear the way": "stop gracefully",
    r"their like": "of the same type",
    r"foreseen?": "counted, planned",
    r"come to show": "published, linked",
    r"warned of": "reported",
    r"sees to|see to it": "ensures",
    r"is told|are told": "receives, is notified",
    r"stands? for|stood for": "represents, is",
    r"(their|its) like": "of the same type, similar",
    r"for good": "permanently",
    r"for people": "for users, as a table",
    r"had better": "must",
    r"keeps? house": "runs maintenance",
    r"let_go": "close, release, on_lost",
    r"not ours any more": "no longer belongs to",
    r"hung up": "closed the connection",
    r"comes? back to life": "is resumed",
}
"""Phrases, in any case of their letters."""


def patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return each pattern as whole words, with what to write instead; a name may have it between underscores."""
    names = [(re.compile(rf"(?<![A-Za-z0-9@])(?:{each})(?![A-Za-z0-9])"), instead) for each, instead in NAMES.items()]
    phrases = [
        (re.compile(rf"(?<!\w)(?:{each})(?!\w)".replace(" ", r"\s+"), re.IGNORECASE), instead)
        for each, instead in PHRASES.items()
    ]
    return [*names, *phrases]


def files() -> list[str]:
    """Return the paths of all text files that belong to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = filter(None, listed.stdout.split("\0"))
    return [name for name in names if not name.startswith(EXEMPT) and Path(name).suffix not in BINARY]


def occurrences(name: str, words: list[tuple[re.Pattern[str], str]]) -> Iterator[str]:
    """Give what is wrong in one file, its own name included, as ``file:line: word``."""
    for pattern, instead in words:
        if found := pattern.search(name):
            yield f"{name}:0: {found[0]!r} in the file's name (better: {instead})"
    path = ROOT / name
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    for pattern, instead in words:
        for found in pattern.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"{name}:{line}: {' '.join(found[0].split())!r} (better: {instead})"


def main(only: list[str]) -> int:
    """Print all occurrences, of the files whose paths start with one of ``only`` if given."""
    words = patterns()
    chosen = [name for name in files() if not only or name.startswith(tuple(only))]
    found = sorted({line for name in chosen for line in occurrences(name, words)})
    print("\n".join(found) or f"words of {len(chosen)} files: all are the field's")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
