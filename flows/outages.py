"""Backoff for services that tolerate any failure of Prefect's API: errors, refused connections, invalid data."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_RETRY_DELAY, MAX_RETRY_DELAY = 2.0, 60.0
"""Pause before the next attempt [s], doubled each time."""
LOG_INTERVAL = 60.0
"""Interval between log messages during an outage [s]."""


class Outages:
    """Counts consecutive errors of one service.

    Parameters
    ----------
    warn:
        Called with a message when an outage begins, once a minute while it lasts, and at its end.
    longest:
        Longest pause [s]; default: ``MAX_RETRY_DELAY``.
    """

    def __init__(self, warn: Callable[[str], None], longest: float | None = None) -> None:
        self._warn = warn
        self._longest = longest
        self._began: float | None = None
        self._logged_at = 0.0
        self._pause = MIN_RETRY_DELAY

    def pause(self, error: BaseException) -> float:
        """Record an error; return how long to wait before the next attempt [s]."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._logged_at = now, now - LOG_INTERVAL
        if now - self._logged_at >= LOG_INTERVAL:
            self._logged_at = now
            lines = str(error).splitlines() or [""]
            self._warn(f"error for {now - self._began:.0f} s; trying again: {type(error).__name__}: {lines[0]}")
        longest = MAX_RETRY_DELAY if self._longest is None else self._longest
        pause, self._pause = min(self._pause, longest), min(self._pause * 2, longest)
        return pause

    def over(self) -> None:
        """Record a success."""
        if self._began is not None:
            self._warn(f"working again after {time.monotonic() - self._began:.0f} s")
        self._began, self._pause = None, MIN_RETRY_DELAY
