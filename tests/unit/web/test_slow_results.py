"""Results that take long are given at once, some time old, and computed again where they are older."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from eas.web import slow_results
from eas.web.slow_results import Result, SlowResults

TIMEOUT = 30.0


@pytest.fixture
def results() -> Iterator[SlowResults]:
    made = SlowResults(timeout=TIMEOUT)
    yield made
    made.close()


def test_a_quick_result_is_there_at_once_and_kept(results):
    calls = []
    first = results.get("key", lambda: calls.append(1) or len(calls))
    again = results.get("key", lambda: calls.append(1) or len(calls))
    assert first.value == again.value == 1
    assert first.at == again.at > 0


def test_what_takes_long_is_given_when_it_is_there():
    go, begun = threading.Event(), threading.Event()
    results = SlowResults(timeout=0.001)

    def compute() -> int:
        begun.set()
        assert go.wait(TIMEOUT)
        return 7

    assert results.get("key", compute) == Result(None, 0.0)
    assert begun.wait(TIMEOUT)
    go.set()
    results.timeout = TIMEOUT
    assert results.get("key", compute).value == 7
    results.close()


def test_an_old_result_is_given_while_a_new_one_is_computed(results, monkeypatch):
    monkeypatch.setattr(slow_results, "MIN_AGE", -1.0)
    monkeypatch.setattr(slow_results, "MAX_CPU_SHARE", 1e9)
    assert results.get("key", lambda: 1).value == 1
    go = threading.Event()
    assert results.get("key", lambda: (go.wait(TIMEOUT), 2)[1]).value == 1
    go.set()
    entry = results._entries["key"]
    entry.future.result(TIMEOUT)
    assert entry.value == 2


def test_a_costly_result_is_kept_for_longer():
    entry = slow_results._Entry(1, at=1000.0, cost=0.5)
    assert entry.is_fresh(1000.0 + 0.5 / slow_results.MAX_CPU_SHARE - 1)
    assert not entry.is_fresh(1000.0 + 0.5 / slow_results.MAX_CPU_SHARE + 1)


def test_an_error_is_raised_where_the_result_is_asked_for_and_tried_again(results):
    def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            results.get("key", fail)
    assert results.get("key", lambda: 3).value == 3


def test_the_number_of_results_is_bounded(results):
    for number in range(slow_results.MAX_ENTRIES + 20):
        results.get(number, lambda: 0)
    assert len(results._entries) == slow_results.MAX_ENTRIES
