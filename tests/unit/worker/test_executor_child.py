"""The child process's life: replaced, interrupted, stopped, drained, and its end with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from eas.errors import EASError

from .processes import is_alive, wait_until

HERE = Path(__file__).parent


# -- replacing the child -----------------------------------------------------------------------


def test_the_child_is_replaced_after_a_number_of_attempts(make_executor, do):
    executor = make_executor(recycle_after=4)
    pids = [outcome.metadata["pid"] for outcome in executor.run_many([do("whoami") for _ in range(10)])]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [4, 4, 2]
    assert not is_alive(pids[0])


def test_a_leaking_child_is_replaced(make_executor, do):
    executor = make_executor(recycle_memory=100)
    first, second = executor.run_many([do("leak"), do("leak")])
    assert first.passed
    assert first.metadata["pid"] != second.metadata["pid"]


def test_a_child_killed_while_it_was_idle_costs_no_attempt(executor, do):
    pid = executor.run(do("whoami")).metadata["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
    assert executor.run(do("whoami")).passed


def test_closing_ends_the_child(executor, do):
    pid = executor.run(do("whoami")).metadata["pid"]
    executor.close()
    executor.close()
    assert not is_alive(pid)


def test_a_caller_that_goes_away_ends_the_running_attempt(executor, do, tmp_path):
    tell = tmp_path / "pid"
    outcomes = executor.run_many([do("nothing"), do("sleep", tell=str(tell))])
    assert next(outcomes).passed
    wait_until(lambda: tell.exists() and tell.read_text())
    outcomes.close()
    assert not is_alive(int(tell.read_text()))
    assert executor.run(do("nothing")).passed


# -- from other threads ------------------------------------------------------------------------


def in_thread(tell, action):
    """Do ``action`` once the file ``tell`` exists; join the thread afterwards."""

    def act():
        wait_until(lambda: tell.exists() and tell.read_text())
        action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.parametrize("by_id", [True, False])
def test_interrupting_one_attempt(executor, do, tmp_path, by_id):
    tell = tmp_path / "pid"
    works = [do("nothing"), do("sleep", "Checked", tell=str(tell)), do("whoami")]
    number = works[1].attempt.attempt_id if by_id else None
    thread = in_thread(tell, lambda: executor.interrupt("cancelled by an operator", number))
    before, outcome, after = executor.run_many(works)
    thread.join()
    assert before.passed and after.passed
    assert outcome.interrupted
    assert outcome.reason == "cancelled by an operator"
    assert outcome.checks == ()
    assert not outcome.passed
    assert not is_alive(int(tell.read_text()))


def test_an_interrupted_attempt_may_tidy_up(executor, do, tmp_path):
    tell, tidied = tmp_path / "started", tmp_path / "tidied"
    work = do("tidy_up_on_request", tell=str(tell), tidied=str(tidied))
    thread = in_thread(tell, lambda: executor.interrupt("cancelled"))
    assert executor.run(work).interrupted
    thread.join()
    assert tidied.read_text() == "tidied up"


def test_an_interrupted_attempt_that_does_not_listen_is_killed(executor, do, tmp_path):
    tell = tmp_path / "started"
    thread = in_thread(tell, lambda: executor.interrupt("cancelled"))
    began = time.monotonic()
    assert executor.run(do("ignore_the_request", tell=str(tell))).interrupted
    thread.join()
    assert time.monotonic() - began < 20
    assert not psutil.pid_exists(int(tell.read_text()))


def test_interrupting_another_attempt_does_nothing(executor, do, tmp_path):
    tell = tmp_path / "pid"
    thread = in_thread(tell, lambda: executor.interrupt("cancelled", 999))
    assert executor.run(do("sleep", duration=0.3, tell=str(tell))).passed
    thread.join()


def stop(executor, reason):
    executor.drain()
    executor.interrupt(reason)


def test_stop(executor, do, tmp_path):
    tell = tmp_path / "pid"
    thread = in_thread(tell, lambda: stop(executor, "the worker is stopping"))
    outcomes = list(executor.run_many([do("nothing"), do("sleep", tell=str(tell)), do("nothing")]))
    thread.join()
    assert [(each.passed, each.interrupted, each.reason) for each in outcomes] == [
        (True, False, ""),
        (False, True, "the worker is stopping"),
    ]
    assert list(executor.run_many([do("nothing")])) == []
    with pytest.raises(EASError, match="was not started"):
        executor.run(do("nothing"))


def test_drain(executor, do, tmp_path):
    tell = tmp_path / "pid"
    later = tmp_path / "later"
    thread = in_thread(tell, executor.drain)
    works = [do("nothing"), do("sleep", duration=0.5, tell=str(tell)), do("sleep", duration=0, tell=str(later))]
    outcomes = list(executor.run_many(works))
    thread.join()
    assert [each.passed for each in outcomes] == [True, True]
    assert not later.exists()


def test_drain_while_the_running_attempt_crashes(executor, do, tmp_path):
    tell = tmp_path / "pid"
    later = tmp_path / "later"
    thread = in_thread(tell, executor.drain)
    works = [
        do("sleep", "Checked", tell=str(tell), time_limit=1, outputs={"product": tmp_path / "p"}),
        do("sleep", duration=0, tell=str(later)),
    ]
    (outcome,) = executor.run_many(works)
    thread.join()
    assert outcome.reason == "ran longer than 1 s"
    assert len(outcome.checks) == 3
    assert not later.exists()


def test_stop_from_a_signal_handler(executor, do, tmp_path):
    tell = tmp_path / "pid"
    previous = signal.signal(signal.SIGUSR1, lambda *_: stop(executor, "signalled"))
    try:
        thread = in_thread(tell, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        outcome = executor.run(do("sleep", tell=str(tell)))
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert outcome.reason == "signalled"


# -- the parent's own end ----------------------------------------------------------------------


@pytest.mark.parametrize("act", ["sleep", "hold_the_lock", "nothing"])
def test_the_child_dies_with_its_parent(tmp_path, act):
    code = f"""
        import sys, time
        from pathlib import Path
        from eas.worker.executor import Executor
        from eas.model import ClaimedAttempt
        from eas.worker.protocol import Work
        def work(act):
            return Work(ClaimedAttempt(1, "bad", {{"act": act}}), "failing_tasks:Do", Path({str(tmp_path / "s")!r}))
        with Executor(threads=1, memory_limit=None, input_directory=Path("/"), python_path=[Path({str(HERE)!r})]) as e:
            print(e.run(work("whoami")).metadata["pid"], flush=True)
            e.run(work({act!r}))
            time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    wait_until(lambda: not is_alive(pid))
