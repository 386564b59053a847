"""A pending attempt: its state while a child runs it, and the result built from that state."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from eas.model import AttemptResult, Check, DynamicOutput, LogEntry, Metadata, Usage
from eas.worker.protocol import Message, Work


@dataclass(slots=True)
class PendingAttempt:
    """One attempt between its request and its result.

    Attributes
    ----------
    operation:
        Requested operation: ``run``, or ``check`` (QC alone) after the code has crashed.
    started_at:
        Unix time [s] at which the child started it.
    started_monotonic:
        The same on the monotonic clock; 0 before the start.
    deadline, next_sample:
        Monotonic times [s] at which to kill it and to sample its memory.
    limit:
        Seconds that led to ``deadline``.
    code_ended:
        The child's ``ran`` message: the code has ended and QC has started.
    failure:
        Why the code failed, once its process has been lost.
    usage:
        What the code used, once its process has been lost.
    peak, cpu:
        Largest memory [MB] and latest CPU time [s] of its process, as sampled from outside.
    """

    work: Work
    operation: str = "run"
    started_at: float = 0.0
    started_monotonic: float = 0.0
    deadline: float | None = None
    limit: float = 0.0
    next_sample: float = 0.0
    log: list[LogEntry] = field(default_factory=list)
    code_ended: Message | None = None
    failure: str = ""
    usage: Usage = field(default_factory=Usage)
    peak: float = 0.0
    cpu: float = 0.0

    @property
    def attempt_id(self) -> int:
        """Id of the scheduling attempt."""
        return self.work.attempt.attempt_id

    def to_message(self) -> Message:
        """Return the request for the child."""
        return self.work.to_message(self.operation)

    def begin(self, judging_limit: float, first_sample: float) -> None:
        """Start the clock of the time limit and of sampling. Both parameters are in seconds."""
        self.started_monotonic = time.monotonic()
        self.started_at = self.started_at or time.time()
        self.set_deadline(self.work.time_limit if self.operation == "run" else judging_limit)
        self.next_sample = self.started_monotonic + first_sample

    def set_deadline(self, limit: float | None) -> None:
        """Set the deadline of the current step to ``limit`` [s] from now; None for no deadline."""
        self.limit = limit or 0.0
        self.deadline = None if limit is None else time.monotonic() + limit

    def note(self, level: int, message: str) -> None:
        """Add a log entry of the worker's own."""
        self.log.append(LogEntry(time.time(), level, "eas.worker", message))

    def finish(self, message: Message) -> AttemptResult:
        """Return the result, built from the child's ``result`` message."""
        usage = self._total(Usage(*message["usage"]))
        checks, new = _checks(message), self._new_files(message)
        if self.operation == "check":
            return self._result(self.failure, {}, checks, self.started_at, message["ended"], usage, new)
        reason = message["reason"] or _reason_of(checks)
        return self._result(reason, message["metadata"], checks, message["started"], message["ended"], usage, new)

    def crash(self, reason: str, usage: Usage) -> AttemptResult | None:
        """Return the result after the process was lost; None if QC must still check the files it left."""
        if self.code_ended is None and self.operation == "run":
            self.operation, self.failure, self.usage = "check", reason, usage
            self.started_monotonic = 0.0
            return None
        failure, metadata = (
            (self.code_ended["reason"], self.code_ended["metadata"]) if self.code_ended else (self.failure, {})
        )
        checks = (Check("QC", False, reason),)
        reason = failure or _reason_of(checks)
        return self._result(reason, metadata, checks, self.started_at, time.time(), self._total(usage))

    def abort(self, reason: str, usage: Usage) -> AttemptResult:
        """Return the result of an interruption."""
        now = time.time()
        result = self._result(reason, {}, (), self.started_at or now, now, self._total(usage))
        return replace(result, interrupted=True)

    def _total(self, usage: Usage) -> Usage:
        """Return ``usage`` plus that of a process lost earlier, with the peak memory found by sampling."""
        lost = self.usage
        return Usage(
            usage.wall + lost.wall,
            usage.cpu + lost.cpu,
            usage.cpu_children + lost.cpu_children,
            max(usage.peak_memory, lost.peak_memory, self.peak),
        )

    def _new_files(self, message: Message) -> tuple[DynamicOutput, ...]:
        """Return the dynamic outputs. The directory is the attempt's own: the child could name any path."""
        folder = self.work.new_directory
        if folder is None:
            return ()
        return tuple(DynamicOutput(name, folder / Path(path).name, passed) for name, path, passed in message["new"])

    def _result(
        self,
        reason: str,
        metadata: Metadata,
        checks: tuple[Check, ...],
        started: float,
        ended: float,
        usage: Usage,
        new_files: tuple[DynamicOutput, ...] = (),
    ) -> AttemptResult:
        self.log.sort(key=lambda entry: entry.logged_at)
        return AttemptResult(
            self.attempt_id,
            reason,
            started,
            ended,
            usage=usage,
            metadata=metadata,
            checks=checks,
            log=tuple(self.log),
            new_files=new_files,
        )


def _checks(message: Message) -> tuple[Check, ...]:
    return tuple(Check(*each) for each in message["checks"])


def _reason_of(checks: tuple[Check, ...]) -> str:
    """Return the first failed check in one line; empty if all passed."""
    return next((f"QC: {each.name}: {each.detail}" for each in checks if not each.passed), "")
