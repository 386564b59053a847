"""The wait before the next attempt of a task."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from eas.taskdb.retry import delay


@pytest.mark.parametrize(
    ("backoff", "used", "seconds"),
    [(1.0, 0, 1.0), (1.0, 3, 8.0), (1.0, 30, 600.0), (500.0, 1, 600.0), (3600.0, 0, 3600.0), (3600.0, 5, 3600.0)],
)
def test_it_doubles_up_to_ten_minutes_but_never_below_what_was_asked_for(
    backoff: float, used: int, seconds: float
) -> None:
    task = SimpleNamespace(backoff=backoff, retries=40, left=40 - used)
    assert delay(cast("Any", task)) == seconds
