"""An attempt on its way through a child: what is known of it so far, and the outcome made of that."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eas.model import Check, LogEntry, Usage
from eas.worker.protocol import Message, NewFile, Outcome, Work


@dataclass(slots=True)
class Flight:
    """One attempt between its request and its outcome.

    Attributes
    ----------
    operation:
        What the child is asked for: ``run``, or ``check`` after the code has crashed.
    began:
        Unix time [s] at which its turn came.
    since:
        The same on the monotonic clock; 0 while it waits for its turn.
    deadline, next_sample:
        Monotonic times [s]: when to kill it, when to look at its memory.
    limit:
        Seconds that led to ``deadline``.
    ran:
        The child's word that the code has returned and QC has begun.
    failure:
        Why the code failed, once its process has been lost.
    usage:
        What the code used, once its process has been lost.
    peak, cpu:
        Largest memory [MB] and latest CPU time [s] of its process, as sampled from outside.
    """

    work: Work
    operation: str = "run"
    began: float = 0.0
    since: float = 0.0
    deadline: float | None = None
    limit: float = 0.0
    next_sample: float = 0.0
    log: list[LogEntry] = field(default_factory=list)
    ran: Message | None = None
    failure: str = ""
    usage: Usage = field(default_factory=Usage)
    peak: float = 0.0
    cpu: float = 0.0

    def to_message(self) -> Message:
        """Return the request for the child."""
        return self.work.to_message(self.operation)

    def begin(self, judging_limit: float, first_sample: float) -> None:
        """Its turn has come: limits and samples count from now. Both parameters in seconds."""
        self.since = time.monotonic()
        self.began = self.began or time.time()
        self.restrict(self.work.time_limit if self.operation == "run" else judging_limit)
        self.next_sample = self.since + first_sample

    def restrict(self, limit: float | None) -> None:
        """Let what it does now take ``limit`` [s] from now on; None for no limit."""
        self.limit = limit or 0.0
        self.deadline = None if limit is None else time.monotonic() + limit

    def note(self, level: int, message: str) -> None:
        """Add a log entry of the worker's own."""
        self.log.append(LogEntry(time.time(), level, "eas.worker", message))

    def finish(self, result: Message) -> Outcome:
        """Return the outcome that the child's ``result`` makes."""
        if self.operation == "check":
            result = {**result, "ok": False, "reason": self.failure, "metadata": {}, "started": self.began}
        usage = self._total(Usage(*result["usage"]) if "usage" in result else Usage())
        return self._outcome(result, usage, float(result["ended"]))

    def crash(self, reason: str, usage: Usage) -> Outcome | None:
        """Return the outcome of a lost process; None if QC has still to look at what it left."""
        if self.ran is None and self.operation == "run":
            self.operation, self.failure, self.usage = "check", reason, usage
            self.since = 0.0
            return None
        told = self.ran or {"ok": False, "reason": self.failure, "metadata": {}}
        result = {**told, "checks": [("QC", False, reason)], "started": self.began}
        return self._outcome(result, self._total(usage), time.time())

    def abort(self, reason: str, usage: Usage) -> Outcome:
        """Return the outcome of an interruption."""
        self.log.sort(key=lambda entry: entry.logged_at)
        now = time.time()
        return Outcome(
            self.work.attempt_id,
            succeeded=False,
            reason=reason,
            started=self.began or now,
            ended=now,
            usage=self._total(usage),
            log=tuple(self.log),
            interrupted=True,
        )

    def _total(self, usage: Usage) -> Usage:
        """Return ``usage`` with that of a lost process and with what the samples have seen."""
        lost = self.usage
        return Usage(
            usage.wall + lost.wall,
            usage.cpu + lost.cpu,
            usage.cpu_children + lost.cpu_children,
            max(usage.peak_memory, lost.peak_memory, self.peak),
        )

    def _outcome(self, result: Message, usage: Usage, ended: float) -> Outcome:
        checks = tuple(Check(*each) for each in result["checks"])
        reason = result["reason"] or _reason_of(checks)
        if len(self.log) > 1:
            self.log.sort(key=lambda entry: entry.logged_at)
        return Outcome(
            self.work.attempt_id,
            succeeded=result["ok"],
            reason=reason,
            started=result["started"],
            ended=ended,
            usage=usage,
            metadata=result["metadata"],
            checks=checks,
            log=tuple(self.log),
            new_files=tuple(NewFile(name, Path(path), passed) for name, path, passed in result.get("new", ())),
        )


def _reason_of(checks: tuple[Check, ...]) -> str:
    """Return the first failed check in one line; empty if all passed."""
    return next((f"QC: {each.name}: {each.detail}" for each in checks if not each.passed), "")


def log_entry(fields: list[Any]) -> LogEntry:
    """Return the log entry that a ``log`` message carries."""
    return LogEntry(*fields)
