from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eas.model import ClaimedAttempt
from eas.worker.executor import Executor
from eas.worker.protocol import Work

HERE = Path(__file__).parent


@pytest.fixture
def make_executor(tmp_path: Path) -> Iterator[Callable[..., Executor]]:
    made = []

    def make(**options: Any) -> Executor:
        defaults = {"threads": 1, "memory_limit": None, "input_directory": tmp_path, "python_path": [HERE]}
        executor = Executor(**{**defaults, **options})
        made.append(executor)
        return executor

    before = {each.pid for each in psutil.Process().children(recursive=True)}
    yield make
    for executor in made:
        executor.close()
    assert {each.pid for each in psutil.Process().children(recursive=True)} <= before, "a process was left behind"


@pytest.fixture
def executor(make_executor: Callable[..., Executor]) -> Executor:
    return make_executor()


@pytest.fixture
def do(tmp_path: Path) -> Callable[..., Work]:
    """Make the work that calls the function ``act`` of failing_tasks."""
    numbers = itertools.count(1)

    def make(act: str, task: str = "Do", time_limit: float | None = None, **more: Any) -> Work:
        number = next(numbers)
        fields = {key: more.pop(key) for key in ("outputs", "inputs", "scratch", "new_directory") if key in more}
        fields.setdefault("scratch", tmp_path / "scratch")
        metadata = more.pop("metadata", {})
        attempt = ClaimedAttempt(number, "bad", {"act": act, **more}, metadata, seed=number)
        return Work(attempt, f"failing_tasks:{task}", time_limit=time_limit, **fields)

    return make
