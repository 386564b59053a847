"""The task types null and error."""

import time

import pytest

from eas.errors import EASError, TaskFailure
from eas.tasks import trivial


def test_null_of_no_duration_returns_at_once(bench, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("slept"))
    task, context = trivial.Null(), bench.context({"duration": 0})
    assert task.run(context) == {}
    assert task.check(context, {}) == []


@pytest.mark.parametrize("settings, seconds", [({}, 10), ({"duration": 2.5}, 2.5), ({"duration": None}, 10)])
def test_null_sleeps(bench, monkeypatch, settings, seconds):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    trivial.Null().run(bench.context(settings))
    assert slept == [seconds]


@pytest.mark.parametrize("duration", [-1, "long", 1e300])
def test_null_refuses_other_durations(bench, duration):
    with pytest.raises(TaskFailure, match="duration is"):
        trivial.Null().run(bench.context({"duration": duration}))


def test_error_raises_what_deserves_a_traceback(bench):
    with pytest.raises(trivial.DeliberateError) as caught:
        trivial.Error().run(bench.context())
    assert not isinstance(caught.value, EASError)
