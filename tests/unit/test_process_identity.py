"""A process is known again whatever the machine's clock does, and a dead one is not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from eas.maintenance import process_identity


@pytest.mark.skipif(not psutil.LINUX, reason="reads /proc")
@pytest.mark.parametrize("step", [3600, -3600])
def test_a_clock_that_is_set_makes_no_process_another_one(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    before = process_identity.this_process()
    name = process_identity.process_name()
    seen = psutil.Process().create_time()
    booted = psutil.boot_time()
    # Linux derives the time of its start from the clock: a step of the clock moves it.
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + step)
    assert abs(psutil.Process().create_time() - seen - step) < 2
    assert process_identity.is_alive(before)
    assert not process_identity.is_dead_here(name)
    assert process_identity.this_process() == before


def test_a_later_process_of_the_same_number_is_another_one() -> None:
    ours = process_identity.this_process()
    assert process_identity.is_alive(ours)
    assert not process_identity.is_alive(ours._replace(started=ours.started - 5))


def test_a_process_that_has_ended_is_gone(tmp_path: Path) -> None:
    program = "from eas.maintenance import process_identity as p; print(p.process_name(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert not process_identity.is_dead_here(name)
    process.kill()
    while not process_identity.is_dead_here(name):  # a zombie counts as gone
        time.sleep(0.01)
    process.communicate()
    assert process_identity.is_dead_here(name)
