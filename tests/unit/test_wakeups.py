"""Wake-ups between processes of one machine."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eas.wakeups import Wakeups

NOTIFY = "import sys; from eas.wakeups import Wakeups; Wakeups(sys.argv[1]).notify(sys.argv[2])"
LISTEN = """
import os, signal, sys
from eas.wakeups import Wakeups
listener = Wakeups(sys.argv[1]).listen("queue")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a temporary folder with a short path, as sockets need: those of pytest are long."""
    with tempfile.TemporaryDirectory(prefix="w") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield
        while _made:
            _made.pop().close()


_made: list[Wakeups] = []


def made(key: str) -> Wakeups:
    _made.append(Wakeups(key))
    return _made[-1]


def run(program: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-c", program, *arguments]).returncode


def test_another_process_wakes_all_who_listen_on_its_channel() -> None:
    wakeups = made("database")
    with wakeups.listen("queue") as first, wakeups.listen("queue") as second, wakeups.listen("job-1") as other:
        assert run(NOTIFY, "database", "queue") == 0
        assert first.wait(0)
        assert second.wait(0)
        assert not other.wait(0)
        assert not first.wait(0), "a wake-up counts once"


def test_databases_do_not_wake_each_other() -> None:
    with made("one").listen("queue") as listener:
        made("two").notify("queue")
        assert not listener.wait(0)


def test_who_waits_is_woken() -> None:
    wakeups = made("database")
    woken = []
    with wakeups.listen("queue") as listener:
        thread = threading.Thread(target=lambda: woken.append(listener.wait(60)))
        thread.start()
        wakeups.notify("queue")
        thread.join()
    assert woken == [True]


def test_more_wakeups_than_a_socket_holds_are_one() -> None:
    wakeups = made("database")
    with wakeups.listen("queue") as listener:
        for _ in range(5_000):
            wakeups.notify("queue")
        assert listener.wait(0)
        assert not listener.wait(0)


def test_the_socket_of_a_killed_process_is_removed() -> None:
    assert run(LISTEN, "database") < 0
    wakeups = made("database")
    assert len(list(wakeups.folder.iterdir())) == 1
    wakeups.notify("queue")
    assert list(wakeups.folder.iterdir()) == []


def test_a_socket_that_is_closed_leaves_nothing() -> None:
    wakeups = made("database")
    wakeups.listen("queue").close()
    wakeups.notify("queue")
    wakeups.close()
    assert list(wakeups.folder.iterdir()) == []


def test_a_socket_that_is_dropped_leaves_nothing_either() -> None:
    wakeups = made("database")
    wakeups.listen("queue")
    gc.collect()
    assert list(wakeups.folder.iterdir()) == []
    wakeups.close()


@pytest.mark.parametrize("how", ["readable by others", "a link", "too long"])
def test_without_a_folder_of_its_own_a_process_wakes_only_itself(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = Path(tempfile.gettempdir())
    if how == "readable by others":
        (temporary / f"eas-{os.getuid()}").mkdir()
        (temporary / f"eas-{os.getuid()}").chmod(0o755)
    elif how == "a link":
        (temporary / "elsewhere").mkdir(mode=0o700)
        (temporary / f"eas-{os.getuid()}").symlink_to(temporary / "elsewhere")
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(temporary / ("x" * 100)))
    wakeups = made("database")
    with wakeups.listen("queue") as listener:
        assert listener.path is None
        wakeups.notify("queue")
        assert not listener.wait(0)
        listener.wake()
        assert listener.wait(0)
