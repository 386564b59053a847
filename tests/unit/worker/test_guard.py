"""A worker that is killed with SIGKILL leaves no process of its tasks and no folder behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from .processes import is_alive, wait_until

pytestmark = pytest.mark.skipif(not psutil.LINUX, reason="looks at /proc")
HERE = Path(__file__).parent
PROGRAM = """
import sys, tempfile, time
from pathlib import Path
from eas.model import ClaimedAttempt
from eas.worker.executor import Executor
from eas.worker.protocol import Work
tmp, here = Path(sys.argv[1]), Path(sys.argv[2])
tempfile.tempdir = str(tmp / "temporary")
executor = Executor(threads=1, memory_limit=None, input_directory=tmp, python_path=[here])
executor.remove_if_killed(tmp / "staging")
attempt = ClaimedAttempt(1, "bad", {"act": sys.argv[3], "tell": str(tmp / "pid")}, {}, seed=1)
with executor:
    executor.run(Work(attempt, "failing_tasks:Do", tmp / "staging" / "scratch"))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_leaves_no_grandchild_and_no_folder(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "staging" / "outputs").mkdir(parents=True)
    (tmp_path / "staging" / "outputs" / "output-0").write_text("half")
    worker = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), str(HERE), "orphan_and_wait"])
    tell = tmp_path / "pid"
    wait_until(lambda: tell.exists() and tell.read_text())
    grandchild = int(tell.read_text())
    family = [each.pid for each in psutil.Process(worker.pid).children(recursive=True)]
    assert is_alive(grandchild)
    assert list((tmp_path / "temporary").iterdir())
    worker.send_signal(number)
    worker.wait()
    wait_until(lambda: not any(map(is_alive, [grandchild, *family])))
    assert not list((tmp_path / "temporary").iterdir())
    assert not (tmp_path / "staging").exists()


def test_a_worker_that_ends_leaves_no_guard(executor, do) -> None:
    assert executor.run(do("whoami")).reason == ""
    [guard] = filter(_is_guard, psutil.Process().children())
    assert guard.memory_info().rss < 20e6
    executor.close()
    assert not is_alive(guard.pid)


def _is_guard(process: psutil.Process) -> bool:
    try:
        return any(part.endswith("guard_process.py") for part in process.cmdline())
    except psutil.ZombieProcess:
        return False
