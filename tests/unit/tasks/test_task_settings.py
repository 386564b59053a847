"""Numbers of a task's settings: kept as they are, or refused with a hint."""

import logging

import numpy as np
import pytest

pytest.importorskip("batman", reason="batman is not installed: pip install batman-package")

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.lightcurves.lightcurve import LightCurve
from eas.model import InputProduct
from eas.tasks.binning import Binning
from eas.tasks.settings import Number, dictionary, warn_text_numbers, warn_unknown
from eas.tasks.synthesis_batman import SynthesisBatman
from eas.tasks.trivial import Null

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
    assert caught.value.hint == "give a number above 0 and of at most 9 [m]"


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


def test_unknown_names_are_reported(caplog):
    log = logging.getLogger("eas.task")
    warn_unknown({"noise": 1, "planet_raduis": 1, "xyz": 1}, ["noise", "planet_radius"], "specs", log)
    assert caplog.messages == [
        "specs.planet_raduis is ignored: no such setting; did you mean 'planet_radius'?",
        "specs.xyz is ignored: no such setting; known are: noise, planet_radius",
    ]


def test_a_number_given_as_text_is_reported(caplog):
    log = logging.getLogger("eas.task")
    warn_text_numbers({"radius": "3.5", "other": "4", "x": 1}, [RADIUS, Number("x"), Number("y")], "specs", log)
    warn_text_numbers({"radius": " 7 "}, [RADIUS], "", log)
    assert caplog.messages == [
        "specs.radius is the text '3.5' and is read as a number: give it without quotes",
        "radius is the text ' 7 ' and is read as a number: give it without quotes",
    ]


@pytest.mark.parametrize(
    "task, settings, named",
    [
        (Null(), {"duration": "0"}, "duration is the text '0'"),
        (Binning(), {"cadence": "600"}, "cadence is the text '600'"),
        (SynthesisBatman(), {"specs": {"duration": "1"}}, "specs.duration is the text '1'"),
    ],
)
def test_every_task_reads_numbers_in_quotes_with_a_warning(bench, caplog, task, settings, named):
    files.write(bench.path("a.gz"), LightCurve(np.arange(100) / 3456, np.ones(100)))
    inputs = {"lightcurve": InputProduct("a.gz", bench.path("a.gz"))}
    task.run(bench.context(settings, inputs=inputs, outputs=["lightcurve"]))
    assert named in caplog.text
