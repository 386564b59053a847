import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from reports import pictures
from reports.activity import timeline_frame
from reports.columns import texts
from reports.progress import progress_frame
from reports.progress_picture import progress_picture
from reports.timeline import timeline_picture


def table(sizes=(0.1, 0.2, 0.4), periods=(1, 2), kinds=("a", "b")):
    rows = [(kind, size, period) for kind in kinds for size in sizes for period in periods]
    outcome = [("PASS", "FAIL", "UNDEFINED", None)[n % 4] for n in range(len(rows))]
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    names = ("task_type", "size", "orbital_period [days]")
    return pd.DataFrame(
        {name: texts(each) for name, each in zip(names, columns, strict=True)} | {"outcome": texts(outcome)}
    )


def shape(png):
    assert png.startswith(b"\x89PNG")
    return imread(io.BytesIO(png)).shape


@pytest.mark.parametrize("values", [(0.1, 0.2, 0.4), (1, 2, 3), ("red", "blue"), (True, False), (5,), (-1.0, 0.0, 1e9)])
def test_outcomes_against_any_parameter_make_a_picture(values):
    assert min(shape(pictures.outcome_picture(table(values), "size", "title"))[:2]) > 200
    assert min(shape(pictures.detection_picture(table(values), "size", "orbital_period [days]"))[:2]) > 200


def test_no_outcome_makes_a_picture_too():
    assert shape(pictures.outcome_picture(table(()), "size"))
    assert shape(pictures.detection_picture(table(()), "size", "orbital_period [days]"))


def test_many_tasks_make_a_picture():
    many = table(tuple(np.geomspace(0.01, 1, 300).tolist()), tuple(range(20)))
    assert shape(pictures.outcome_picture(many, "size"))
    assert shape(pictures.detection_picture(many, "size", "orbital_period [days]"))


def test_log_spacing_is_told_from_linear():
    assert pictures.is_log_spaced(np.geomspace(0.02, 0.18, 14))
    assert not pictures.is_log_spaced(np.linspace(0.02, 0.18, 14))
    assert not pictures.is_log_spaced([0.0, 0.1, 1.0])
    assert not pictures.is_log_spaced([1.0, 10.0])


def test_the_same_data_make_the_same_picture():
    assert pictures.outcome_picture(table(), "size") == pictures.outcome_picture(table(), "size")


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_timelines_of_any_length(count):
    rows = [(f"worker{n % 70}", 1, "j", f"type{n % 3}", n, n, "failed" if n % 7 == 0 else "done", 10.0 + n,
             None if n == count - 1 else 11.0 + n) for n in range(count)]  # fmt: skip
    frame = timeline_frame(rows, {}, 20_000.0)
    assert shape(timeline_picture(frame, 20_000.0))


def test_progress_picture():
    rows = [(1, "j", f"t{n}", "done" if n % 2 else "waiting", n + 1) for n in range(60)]
    assert shape(progress_picture(progress_frame(rows)))
    assert shape(progress_picture(progress_frame([])))
