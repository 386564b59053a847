"""What holds for every test: one Hypothesis profile, and a summary of skips with one line for each reason."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy with other work must not fail a test: examples have no deadline, and the time that
# Hypothesis needs to build its Unicode tables on first use is no fault of a strategy.
# CI tries the same examples each time, so that a change is judged by what it changed; elsewhere they are new ones.
settings.register_profile("eas", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("eas"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "eas")

# A shell that starts the tests in the background has SIGINT ignored, in all that they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped for each reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped tests by reason")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5d}  {reason}")
