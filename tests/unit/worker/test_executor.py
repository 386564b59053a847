"""Attempts that go well: what the task sees, their output, their QC and their usage."""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
from dataclasses import replace

import pytest

from eas.model import Check, InputProduct


def printed(outcome):
    return {entry.logger: entry.message for entry in outcome.log if entry.logger in {"stdout", "stderr"}}


# -- what the task sees ------------------------------------------------------------------------


def test_what_the_task_sees(make_executor, do, tmp_path, monkeypatch):
    monkeypatch.setenv("EAS_DATABASE_URL", "mysql://u:hidden@h/d")
    monkeypatch.setenv("EAS_QUEUE_URL", "amqp://u:hidden@h")
    monkeypatch.setenv("PREFECT_API_KEY", "hidden")
    monkeypatch.setenv("SOME_PASSWORD", "hidden")
    monkeypatch.setenv("BROKER", "amqp://user:hidden@h")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/cache")
    source = InputProduct("lc.gz", tmp_path / "lc.gz", {"a": 1})
    executor = make_executor(threads=3)
    work = do("whoami", metadata={"size": 0.1}, inputs={"lightcurve": source})
    seen = executor.run(work).metadata
    assert seen["cwd"] == seen["scratch"] == str(tmp_path / "scratch")
    assert seen["empty"] and seen["sigint"] and seen["sigterm"] and not seen["heavy"]
    assert (seen["threads"], seen["cores"], seen["stdin"]) == ("3", 3, 0)
    assert seen["session"] == seen["pid"] != os.getpid()
    assert (seen["seed"], seen["inherited"]) == (work.attempt.seed, 0.1)
    assert seen["inputs"] == f"lightcurve:lc.gz:{tmp_path / 'lc.gz'}:1"
    assert "hidden" not in seen["environment"]
    assert "NUMBA_CACHE_DIR=/cache" in seen["environment"]


def test_the_child_stays_warm(executor, do):
    assert len({outcome.metadata["pid"] for outcome in executor.run_many([do("whoami") for _ in range(50)])}) == 1


def test_metadata_become_json_scalars(executor, do):
    outcome = executor.run(do("numbers"))
    assert outcome.passed, outcome.reason
    assert outcome.metadata == {
        "f64": 1.5, "f32": 0.5, "i8": 3, "u64": 4, "bool": True, "str": "s", "zero": 2.5, "long": 1.25,
        "nan": None, "inf": None, "none": None, "text": "é\\udcff",
    }  # fmt: skip
    assert type(outcome.metadata["bool"]) is bool
    assert [entry.message for entry in outcome.log] == ["NaN or infinite values are recorded as null: nan, inf"]
    json.dumps(outcome.metadata, allow_nan=False)


def test_the_next_attempt_finds_everything_in_order(executor, do, tmp_path):
    mess, after = executor.run_many([do("mess"), do("whoami")])
    assert mess.passed
    assert after.metadata["pid"] == mess.metadata["pid"]
    assert after.metadata["empty"] and after.metadata["sigint"] and after.metadata["sigterm"]
    assert after.metadata["cwd"] == str(tmp_path / "scratch")
    assert executor.run(do("sleep", duration=0.1)).passed  # the timer of `mess` is off


def test_scratch_that_the_task_removed_or_replaced(executor, do, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").write_text("x")
    works = [do("remove_scratch"), do("whoami"), do("replace_scratch", target=str(target)), do("whoami")]
    assert [outcome.passed for outcome in executor.run_many(works)] == [True] * 4
    assert (target / "precious").exists()


def test_each_scratch_directory_is_removed(executor, do, tmp_path):
    works = [do("mess" if n % 2 else "nothing", scratch=tmp_path / "deep" / f"s{n}") for n in range(6)]
    assert all(outcome.passed for outcome in executor.run_many(works))
    executor.close()
    assert list((tmp_path / "deep").iterdir()) == []


def test_what_another_worker_left_in_scratch_is_removed(executor, do, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "old").write_text("x")
    assert executor.run(do("whoami")).metadata["empty"]


# -- output and log ----------------------------------------------------------------------------


def test_the_log(executor, do):
    outcome = executor.run(do("log_some"))
    assert [(entry.level, entry.logger, entry.message) for entry in outcome.log] == [
        (logging.INFO, "eas.task.bad", "a b"),
        (logging.WARNING, "other", "wrong %d arguments (its arguments do not fit)"),
        (logging.ERROR, "root", "caught \\udcff"),
    ]
    assert "KeyError: 'inner'" in outcome.log[2].traceback


def test_a_huge_log_is_bounded(executor, do):
    outcome = executor.run(do("log_much"))
    assert len(outcome.log) == 2002
    assert outcome.log[1999].message == "entry 1999"
    assert "more than 2,000 log entries" in outcome.log[2000].message
    assert outcome.log[2001].message == "the end"


def test_changed_logging_is_put_back(executor, do):
    executor.run(do("change_logging"))
    assert len(executor.run(do("log_some")).log) == 3
    assert printed(executor.run(do("speak")))["stdout"].startswith("out")


def test_output_goes_to_its_own_attempt(executor, do):
    works = [do("speak" if number % 3 else "nothing") for number in range(60)]
    for work, outcome in zip(works, executor.run_many(works), strict=True):
        spoken = {"stdout": f"out {work.attempt.seed}", "stderr": f"err {work.attempt.seed}"}
        assert printed(outcome) == (spoken if work.attempt.settings["act"] == "speak" else {})


def test_output_from_c_does_not_disturb_the_protocol(executor, do):
    outcome, after = executor.run_many([do("speak_in_c"), do("speak")])
    assert outcome.passed
    assert "from C 7" in printed(outcome)["stdout"]
    assert "result" in printed(outcome)["stdout"]
    assert "from C" not in printed(after)["stdout"]


def test_huge_output_is_bounded(executor, do):
    outcome, after = executor.run_many([do("flood"), do("speak")])
    text = printed(outcome)["stdout"]
    assert len(text) < 70_000
    assert text.startswith("beginning\nzzz")
    assert text.endswith("z\nending")
    assert "bytes left out" in text
    assert printed(after) == {"stdout": f"out {after.attempt_id}", "stderr": f"err {after.attempt_id}"}


@pytest.mark.parametrize("act", ["close_output", "redirect_output"])
def test_lost_output_streams_are_put_back(executor, do, act):
    outcome, after = executor.run_many([do(act), do("speak")])
    assert outcome.passed
    assert printed(after)["stdout"].startswith("out")


# -- QC ----------------------------------------------------------------------------------------


def test_qc_after_success(executor, do, tmp_path):
    outcome = executor.run(do("write_product", "Checked", outputs={"product": tmp_path / "p"}))
    assert outcome.passed
    assert outcome.reason == ""
    assert [check.detail for check in outcome.checks] == ["{'written': True}", "", "whole"]


def test_qc_can_fail_what_the_code_thought_well(executor, do, tmp_path):
    outcome = executor.run(do("nothing", outputs={"product": tmp_path / "p"}))
    assert not outcome.passed
    assert outcome.reason == "QC: product exists: was not written"
    assert outcome.checks == (Check("product exists", False, "was not written"),)


def test_qc_after_an_exception_runs_in_the_same_child(executor, do, tmp_path):
    outcome = executor.run(do("crash", "Checked", outputs={"product": tmp_path / "p"}))
    assert outcome.reason == "ValueError: first line"
    assert [(check.name, check.passed, check.detail) for check in outcome.checks] == [
        ("metadata", False, "None"),
        ("scratch", True, ""),
        ("product", False, "nothing"),
    ]


def test_qc_after_a_crash_runs_in_a_fresh_child(executor, do, tmp_path):
    works = [
        do(act, "Checked", outputs={"product": tmp_path / act}) for act in ("write_half_and_die", "write_whole_and_die")
    ]
    half, whole = executor.run_many(works)
    for outcome in (half, whole):
        assert not outcome.passed
        assert "exit code 3" in outcome.reason
    assert [check.detail for check in half.checks] == ["None", "left.txt", "half"]
    assert whole.checks[2].passed
    assert executor.run(do("whoami")).metadata["empty"]


def test_qc_after_the_time_limit(executor, do, tmp_path):
    outcome = executor.run(do("sleep", "Checked", time_limit=0.2, outputs={"product": tmp_path / "p"}))
    assert outcome.reason == "ran longer than 0.2 s"
    assert [check.name for check in outcome.checks] == ["metadata", "scratch", "product"]


@pytest.mark.parametrize(
    ("check", "detail"),
    [
        ("crash", "ValueError: first line"),
        ("leave", "the task's code called sys.exit()"),
        ("vanish", "the task's process ended with exit code 0 before its code had returned"),
        ("segfault", "killed by signal SIGSEGV"),
        ("sleep", "ran longer than 0.5 s"),
    ],
)
@pytest.mark.parametrize("act", ["write_product", "write_whole_and_die"])
def test_qc_that_fails_itself(executor, do, tmp_path, act, check, detail):
    outcome = executor.run(do(act, "Checked", check=check, time_limit=0.5, outputs={"product": tmp_path / "p"}))
    assert outcome.checks == (Check("QC", False, detail),)
    assert not outcome.passed
    if act == "write_product":
        assert outcome.metadata == {"written": True}
        assert outcome.reason == f"QC: QC: {detail}"
    else:
        assert "exit code 3" in outcome.reason
    assert executor.run(do("whoami")).passed


def test_qc_that_returns_something_else(executor, do):
    outcome = executor.run(replace(do(""), implementation="failing_tasks:OddCheck"))
    assert outcome.checks == (Check("QC", False, "check() returned a str instead of a sequence of Check"),)


# -- usage -------------------------------------------------------------------------------------


def test_wall_and_cpu_time(executor, do):
    outcome = executor.run(do("burn"))
    assert 0.3 <= outcome.usage.cpu < 0.6
    assert outcome.usage.cpu + 0.25 <= outcome.usage.cpu_children < outcome.usage.cpu + 0.8
    assert outcome.usage.wall >= 0.6
    assert outcome.ended - outcome.started == pytest.approx(outcome.usage.wall, abs=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the peak of the process's life is known")
def test_peak_memory_is_the_attempts_own(executor, do):
    small, large, after = executor.run_many([do("sleep", duration=0.01), do("memory_once"), do("sleep", duration=0.01)])
    assert 5 < small.usage.peak_memory < 60
    assert large.usage.peak_memory > small.usage.peak_memory + 110
    assert after.usage.peak_memory < 60


# -- many attempts -----------------------------------------------------------------------------


def test_works_are_taken_as_they_are_needed(make_executor, do):
    executor = make_executor(window=3)
    taken = []

    def works():
        for number in range(10):
            taken.append(number)
            yield do("nothing")

    outcomes = executor.run_many(works())
    next(outcomes)
    assert len(taken) <= 3
    assert len(list(outcomes)) == 9


def test_more_works_are_taken_when_half_of_those_sent_are_done(make_executor, do):
    executor = make_executor(window=8)
    sent = []

    def works():
        for _ in range(40):
            sent.append(len(executor._pending))
            yield do("nothing")

    assert len(list(executor.run_many(works()))) == 40
    assert max(sent) == 7
    # Either one more of those that are sent together, or the first of them.
    assert all(now == before + 1 or now <= 4 for before, now in itertools.pairwise(sent)), sent


def test_the_window_may_grow_meanwhile(make_executor, do):
    executor = make_executor(window=1)
    taken = []

    def works():
        for number in range(6):
            taken.append(number)
            executor.window = 4
            yield do("nothing")

    outcomes = executor.run_many(works())
    next(outcomes)
    assert len(taken) == 1
    next(outcomes)
    assert len(taken) == 5
    assert len(list(outcomes)) == 4


def test_while_the_child_is_waited_for_something_else_can_be_done(make_executor, do):
    executor = make_executor()
    calls = []

    def call():
        calls.append(0.02)
        return 0.02

    executor.while_waiting = call
    assert executor.run(do("sleep", duration=0.5)).passed
    assert len(calls) > 10


def test_large_messages(executor, do):
    works = [do("nothing", text="x" * 3_000_000) for _ in range(5)]
    assert all(outcome.passed for outcome in executor.run_many(works))
