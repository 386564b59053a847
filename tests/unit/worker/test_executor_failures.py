"""Whatever the task's code does: a failed attempt with its reason, and the executor goes on."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest

from .processes import is_alive


def traceback_of(outcome):
    return next(entry for entry in outcome.log if entry.level == logging.ERROR).traceback


REASONS = [
    ("crash", {}, "ValueError: first line"),
    ("explain", {}, "the star is missing (bring it back)"),
    ("missing_input", {}, "bad needs the input 'lightcurve' (give it in the task's `inputs`)"),
    ("unspeakable", {}, "failing_tasks.Unspeakable: <its message cannot be shown>"),
    ("recurse", {}, "RecursionError: maximum recursion depth exceeded"),
    ("keyboard", {}, "KeyboardInterrupt"),
    ("leave", {"code": 0}, "the task's code called sys.exit(0)"),
    ("leave", {"code": 7}, "the task's code called sys.exit(7)"),
    ("leave", {"code": "so"}, "the task's code called sys.exit('so')"),
    ("leave", {}, "the task's code called sys.exit()"),
    ("vanish", {"code": 0}, "the task's process ended with exit code 0 before its code had returned"),
    ("vanish", {"code": 9}, "the task's process ended with exit code 9 before its code had returned"),
    ("segfault", {}, "killed by signal SIGSEGV"),
    ("abort", {}, "killed by signal SIGABRT"),
    ("kill_self", {}, "killed by signal SIGKILL (by another process; the kernel does that when memory runs out)"),
    ("close_everything", {}, "the task's code closed the worker's connection"),
    ("wrong_list", {}, "the output metadata 'values' is a list: only numbers, strings and booleans can be recorded"),
    ("wrong_complex", {}, "the output metadata 'z' is a complex: only numbers, strings and booleans can be recorded"),
    ("wrong_key", {}, "the output metadata has the name 1: names must be strings, and not empty"),
    ("wrong_integer", {}, "the output metadata 'big' is an integer of more than 64 bits"),
    ("wrong_none", {}, "run() returned None instead of a dictionary of output metadata (return a dictionary of "
     "numbers, strings and booleans; an empty one will do)"),
    ("say_nothing", {}, "TaskFailure"),
    ("wrong_size", {}, "the output metadata is larger than 1 MB (write large results to a file product)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("act", "settings", "reason"), REASONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_failure_has_its_reason_and_the_executor_goes_on(executor, do, act, settings, reason):
    before, outcome, after = executor.run_many([do("whoami"), do(act, **settings), do("whoami")])
    assert before.passed
    assert after.passed
    assert not outcome.passed
    assert not outcome.interrupted
    assert outcome.reason == reason
    assert any(entry.level == logging.ERROR for entry in outcome.log)
    assert outcome.metadata == {}
    assert outcome.usage.wall >= 0
    assert before.ended <= outcome.started <= outcome.ended <= after.started + 0.01


def test_the_traceback_begins_at_the_tasks_own_code(executor, do):
    trace = traceback_of(executor.run(do("crash")))
    assert trace.startswith("Traceback (most recent call last):")
    assert trace.rstrip().endswith("ValueError: first line\nsecond line")
    assert "failing_tasks.py" in trace
    assert "attempt.py" not in trace
    assert traceback_of(executor.run(do("explain"))) is None


@pytest.mark.parametrize(
    ("implementation", "reason"),
    [
        ("no_such_module:X", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("failing_tasks:Nix", "AttributeError: module 'failing_tasks' has no attribute 'Nix'"),
        ("failing_tasks:NotATask", "failing_tasks:NotATask is not a subclass of eas.tasks.base.Task"),
    ],
)
def test_code_that_cannot_be_loaded(executor, do, implementation, reason):
    from dataclasses import replace

    outcome = executor.run(replace(do("nothing"), implementation=implementation))
    assert (outcome.passed, outcome.reason, outcome.checks) == (False, reason, ())


def test_what_was_logged_and_printed_before_a_crash_is_kept(executor, do):
    outcome = executor.run(do("segfault"))
    messages = {entry.logger: entry for entry in outcome.log}
    assert messages["here"].message == "about to fall"
    assert messages["stdout"].message == "printed before the fall"
    assert messages["stdout"].level == logging.INFO
    assert "Fatal Python error: Segmentation fault" in messages["stderr"].message
    assert "in segfault" in messages["stderr"].message
    assert [entry.logged_at for entry in outcome.log] == sorted(entry.logged_at for entry in outcome.log)


def test_more_memory_than_may_be_mapped(make_executor, do):
    executor = make_executor(memory_limit=400)
    first, outcome, after = executor.run_many([do("whoami"), do("memory_at_once"), do("whoami")])
    assert outcome.reason == "used more than 400 MB of memory (MemoryError)"
    assert "bytearray" in traceback_of(outcome)
    assert after.passed
    assert after.metadata["pid"] != first.metadata["pid"]


def test_memory_in_pieces(make_executor, do):
    outcome = make_executor(memory_limit=200).run(do("memory_in_pieces"))
    assert outcome.reason.startswith("used more than 200 MB of memory")
    assert outcome.usage.peak_memory > 150


def test_memory_of_several_processes_is_added_up(make_executor, do):
    executor = make_executor(memory_limit=250)
    outcome = executor.run(do("memory_by_many"))
    assert outcome.reason == "used more than 250 MB of memory"
    assert 250 < outcome.usage.peak_memory < 500
    assert executor.run(do("whoami")).passed


@pytest.mark.parametrize("act", ["sleep", "hold_the_lock"])
def test_the_time_limit(executor, do, act):
    executor.run(do("nothing"))
    began = time.monotonic()
    outcome, after = executor.run_many([do(act, time_limit=0.3), do("whoami")])
    assert outcome.reason == "ran longer than 0.3 s"
    assert 0.3 <= outcome.usage.wall < 5
    assert time.monotonic() - began < 20
    assert after.passed


def test_the_clock_of_the_limit_starts_when_the_attempt_does(executor, do):
    works = [do("sleep", duration=0.2, time_limit=1.0) for _ in range(8)]
    assert all(outcome.passed for outcome in executor.run_many(works))


def test_a_file_in_the_place_of_the_connection_is_not_written_to(executor, do, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    outcome = executor.run(do("close_and_write", folder=str(folder)))
    assert outcome.reason == "the task's code closed the worker's connection"
    assert {each.stat().st_size for each in folder.iterdir()} == {0}


RESULT: dict[str, Any] = {
    "say": "result", "id": 2, "started": 0.0, "ended": 0.0, "usage": [0, 0, 0, 0], "totals": [0, 0], "retire": "",
    "reason": "", "metadata": {}, "checks": [], "new": [],
}  # fmt: skip
FORGED = [
    "",
    "nothing",
    "[" * 100_000,
    "[]",
    '"result"',
    "{}",
    '{"say": []}',
    '{"say": "something"}',
    '{"say": "log"}',
    '{"say": "log", "entry": [0, 20, "logger"]}',
    '{"say": "log", "entry": [0, 20, "logger", 1, null]}',
    '{"say": "ran", "reason": null, "metadata": {}}',
    '{"say": "ready", "totals": [0, "1"], "resident": 0}',
    *(json.dumps({key: value for key, value in RESULT.items() if key != left_out}) for left_out in RESULT),
    *(json.dumps({**RESULT, key: {}}) for key in RESULT if key != "metadata"),
    json.dumps({**RESULT, "metadata": {"list": []}}),
    json.dumps({**RESULT, "metadata": {"nan": math.nan}}),
    json.dumps({**RESULT, "metadata": {"big": 2**63}}),
    json.dumps({**RESULT, "checks": [["name", 1, ""]]}),
    json.dumps({**RESULT, "new": [["name", "path"]]}),
    json.dumps({**RESULT, "started": math.inf}),
]


@pytest.mark.parametrize("message", FORGED, ids=range(len(FORGED)))
def test_a_message_that_no_child_sends_fails_its_attempt_only(executor, do, message):
    before, outcome, after = executor.run_many([do("whoami"), do("forge", message=message, duration=9), do("whoami")])
    assert outcome.reason == "the task's code wrote to the worker's connection"
    assert before.passed and after.passed


def test_files_that_no_chain_names_are_taken_from_their_directory_only(executor, do, tmp_path):
    secret, folder = tmp_path / "secret", tmp_path / "new"
    forged = json.dumps({**RESULT, "id": 1, "new": [["name", str(secret), True]]})
    outcome = executor.run(do("forge", message=forged, new_directory=folder))
    assert [each.path for each in outcome.new_files] == [folder / "secret"]
    assert executor.run(do("forge", message=json.dumps({**RESULT, "id": 2, "new": RESULT["new"]}))).new_files == ()


def test_crash_in_the_pipeline_fails_one_attempt_only(executor, do):
    works = [do("vanish", code=1) if number % 5 == 2 else do("speak") for number in range(12)]
    outcomes = list(executor.run_many(works))
    assert [each.attempt_id for each in outcomes] == [each.attempt.attempt_id for each in works]
    assert [each.passed for each in outcomes] == [number % 5 != 2 for number in range(12)]
    for work, outcome in zip(works, outcomes, strict=True):
        spoken = {entry.logger: entry.message for entry in outcome.log if entry.logger.startswith("std")}
        assert spoken == (
            {"stdout": f"out {work.attempt.seed}", "stderr": f"err {work.attempt.seed}"} if outcome.passed else {}
        )


def test_usage_of_a_lost_process(executor, do):
    executor.run(do("nothing"))
    outcome = executor.run(do("sleep", time_limit=0.5))
    assert 0.5 <= outcome.usage.wall < 5
    assert outcome.usage.peak_memory > 5
    assert outcome.usage.cpu <= outcome.usage.cpu_children < 5


def test_processes_that_outlive_a_crash_are_killed(executor, do, tmp_path):
    tell = tmp_path / "pid"
    outcome = executor.run(do("orphan_and_die", tell=str(tell)))
    assert "exit code 5" in outcome.reason
    assert not is_alive(int(tell.read_text()))


@pytest.mark.parametrize("act", ["grandchild", "orphan"])
def test_processes_that_are_left_behind_are_killed(executor, do, tmp_path, act):
    tell = tmp_path / "pid"
    first, outcome, after = executor.run_many([do("whoami"), do(act, tell=str(tell)), do("whoami")])
    pid = outcome.metadata.get("pid") or int(tell.read_text())
    assert outcome.passed
    assert outcome.log[-1].message == "the task left processes running: ended with the child process"
    assert not is_alive(pid)
    assert after.metadata["pid"] != first.metadata["pid"]


def test_threads_that_are_left_behind_cost_the_child_its_place(executor, do):
    outcome, after = executor.run_many([do("thread"), do("whoami")])
    assert outcome.passed
    assert "left threads running" in outcome.log[-1].message
    assert not is_alive(outcome.metadata["pid"])
    assert after.passed


def test_a_copy_forked_by_the_task_does_not_speak_for_it(executor, do):
    first, second, third = executor.run_many([do("fork_and_return"), do("fork_and_exit"), do("nothing")])
    assert first.metadata == {"first": True}
    assert [entry.message for entry in first.log if entry.logger == "stderr"] == ["from the copy"]
    assert second.metadata == {"code": 7}
    assert third.passed


def test_no_child_can_be_started(make_executor, do, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    from eas.errors import EASError

    with pytest.raises(EASError, match=re.escape("cannot start the worker's child process")):
        make_executor().run(do("nothing"))


def test_scratch_is_removed_after_a_crash(executor, do, tmp_path):
    outcome = executor.run(do("write_half_and_die", outputs={"product": tmp_path / "p"}))
    assert not outcome.passed
    assert not Path(tmp_path / "scratch" / "left.txt").exists()
    executor.close()
    assert not (tmp_path / "scratch").exists()
