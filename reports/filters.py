"""Parsing of filters."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from eas.errors import RequestError

SECONDS_PER_UNIT = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
AGE_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d|w)\s*")
HINT = "give a time such as 2026-11-22T08:30 (UTC unless it names a zone), or an age such as 90min, 12h or 7d"


def parse_since(text: str | None, now: float, option: str = "--since") -> float | None:
    """Return the time in ``text`` [Unix time, s]; None for None.

    An ISO 8601 date or time, in UTC unless it names a zone, or an age before ``now``: a number and one
    of s, min, h, d, w. Raises RequestError.
    """
    if text is None or not text.strip():
        return None
    if found := AGE_PATTERN.fullmatch(text):
        return now - float(found[1]) * SECONDS_PER_UNIT[found[2]]
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RequestError(f"{option} {text!r} is not a time", hint=HINT) from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def parse_older_than(text: str, now: float, option: str) -> float:
    """Return the past time in ``text``, in the format of ``parse_since`` [Unix time, s].

    Raises RequestError.
    """
    before = parse_since(text, now, option)
    if before is None or before > now:
        raise RequestError(f"{option} is empty or in the future", hint="give an age such as 30d")
    return before
