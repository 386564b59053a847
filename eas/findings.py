"""Findings about an installation, from checks that run concurrently with a time limit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from eas.errors import EASError


class Level(StrEnum):
    """Severity of a finding: no problem, information, or a problem to correct."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """Result of one check; ``hint``: how to correct a problem."""

    check: str
    level: Level
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


Check = Callable[[], list[Finding]]
"""A check: it may block, and may raise EASError, which is a problem with its hint."""


def run_checks(checks: Mapping[str, Check], seconds: float) -> list[Finding]:
    """Run all checks at the same time and return what they find, in their order.

    A check that does not return within ``seconds`` is a problem. Its thread continues as a daemon, which does not
    keep the process alive.
    """
    answers: queue.SimpleQueue[tuple[str, list[Finding]]] = queue.SimpleQueue()
    for name, check in checks.items():
        work = (name, check, answers)
        threading.Thread(target=_answer, args=work, name=f"check {name}", daemon=True).start()
    found: dict[str, list[Finding]] = {}
    deadline = time.monotonic() + seconds
    while len(found) < len(checks):
        try:
            name, findings = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[name] = findings
    return [finding for name in checks for finding in found.get(name) or [_silent(name, seconds)]]


def _answer(name: str, check: Check, answers: queue.SimpleQueue[tuple[str, list[Finding]]]) -> None:
    try:
        findings = check()
    except EASError as error:
        findings = [Finding(name, Level.PROBLEM, error.what, error.hint)]
    except Exception as error:  # one broken check must not hide the others
        # Without the text: it may hold a URL with its password.
        message = f"the check failed with {type(error).__name__}"
        findings = [Finding(name, Level.PROBLEM, message, "try again; if the problem persists, report it")]
    answers.put((name, findings))


def _silent(name: str, seconds: float) -> Finding:
    return Finding(
        name, Level.PROBLEM, f"no answer within {seconds:g} s", "is the service overloaded, or behind a firewall?"
    )
