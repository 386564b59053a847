"""Processes of a test's own, and how long tests wait for what they do."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 240.0
"""How long one step may take on a machine that is busy with much else [s]; a step that ends early does not wait."""
MAX_TIMEOUT = 1200
"""How long a test of several such steps may take before pytest ends it [s]."""


def clean_environment() -> dict[str, str]:
    """Return this environment without settings of EAS and Prefect; bytecode is kept for the next process.

    A local Prefect server is not kept for a next run: no process outlives a test.
    """
    dropped = ("EAS_", "PREFECT_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"EAS_SERVER_IDLE": "0"}


def wait_for(condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
    """Return what ``condition`` returns once that is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"{what}: not reached within {timeout:.0f} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
