"""Numbers of a task's settings: kept as they are, or refused with a cure."""

import logging

import pytest

from eas.errors import TaskFailure
from eas.tasks.settings import Number, dictionary, warn_unknown

RADIUS = Number("radius", 2.5, "m", low=0, high=9, above=True)


@pytest.mark.parametrize(
    "value, number", [(3, 3), (3.5, 3.5), (True, 1), ("3.5", 3.5), ("1e-1", 0.1), (9, 9), (None, 2.5)]
)
def test_what_counts_as_a_number(value, number):
    seen = RADIUS.read({"radius": value})
    assert seen == number and type(seen) is type(number)


@pytest.mark.parametrize("value", [0, -1, 9.1, float("nan"), float("inf"), 10**400, "wide", "", [1], {}, False, "nan"])
def test_what_does_not(value):
    with pytest.raises(TaskFailure, match=r"specs\.radius is") as caught:
        RADIUS.read({"radius": value}, "specs")
    assert caught.value.cure == "give a number above 0 and of at most 9 [m]"


def test_a_missing_number():
    assert RADIUS.read({}) == 2.5
    assert Number("x").read({}) is None
    with pytest.raises(TaskFailure, match="the setting x is missing"):
        Number("x", unit="s").required({})


def test_a_dictionary():
    assert dictionary({}, "specs") == dictionary({"specs": None}, "specs") == {}
    assert dictionary({"specs": {"a": 1}}, "specs") == {"a": 1}
    with pytest.raises(TaskFailure, match="specs is 3"):
        dictionary({"specs": 3}, "specs")


def test_unknown_names_are_warned_of(caplog):
    log = logging.getLogger("eas.task")
    warn_unknown({"noise": 1, "planet_raduis": 1, "xyz": 1}, ["noise", "planet_radius"], "specs", log)
    assert caplog.messages == [
        "specs.planet_raduis is ignored: no such setting; did you mean 'planet_radius'?",
        "specs.xyz is ignored: no such setting; known are: noise, planet_radius",
    ]
