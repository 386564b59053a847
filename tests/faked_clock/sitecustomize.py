"""Imported by each Python that starts with this folder on PYTHONPATH: sleeping that libfaketime does not break.

libfaketime 0.9.10 refuses ``clock_nanosleep`` (EINVAL), by which Python 3.11 sleeps, where monotonic clocks are true.
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = _sleep
