import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from reports import pictures
from reports.columns import texts
from reports.live_tables import timeline_frame
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


def coloured(png, colour):
    """Return the number of pixels that show a colour, also where it is translucent on white."""
    wanted = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    pixels = imread(io.BytesIO(png))[..., :3].reshape(-1, 3)
    depth = np.clip((1 - pixels).sum(axis=1) / (1 - wanted).sum(), 0, 1)
    blended = 1 - depth[:, None] * (1 - wanted)
    return int(((np.abs(pixels - blended).max(axis=1) < 0.05) & (depth > 0.5)).sum())


def test_edges_do_not_hide_a_thousand_marks():
    thousand = table(tuple(np.linspace(0.01, 1, 1000).tolist()), (1,), ("a",)).assign(outcome="PASS")
    assert coloured(pictures.outcome_picture(thousand, "size"), pictures.COLOURS["PASS"]) > 10_000


def test_cells_without_outcome_are_explained_in_a_legend(monkeypatch):
    explained = []
    monkeypatch.setattr(pictures, "_empty_cells_legend", explained.append)
    full = table().assign(outcome="PASS")
    pictures.detection_picture(full, "size", "orbital_period [days]")
    assert not explained
    pictures.detection_picture(full.assign(outcome="UNDEFINED"), "size", "orbital_period [days]")
    assert len(explained) == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.geomspace(10, 1000, 5).tolist(), ["10", "20", "50", "100", "200", "500", "1000"]),
        (np.linspace(3, 90, 30).tolist(), ["15", "30", "45", "60", "75", "90"]),
        ([0.5, 1.0, 1.5], ["0.5", "1", "1.5"]),
        ([1, 2, 3], ["1", "2", "3"]),
        (["red", "blue"], ["red", "blue"]),
        ([True, False], ["True", "False"]),
        ([31.66], ["31.7"]),
    ],
)
def test_ticks_of_a_grid_are_at_round_values(values, words):
    places, found = pictures.grid_ticks(values)
    assert found == words
    assert all(0 <= place <= len(values) - 1 for place in places)


def test_ticks_between_cells_are_where_their_values_belong():
    places, words = pictures.grid_ticks([10.0, 31.622776601683793, 100.0])
    assert dict(zip(words, places, strict=True))["100"] == pytest.approx(2)
    assert dict(zip(words, places, strict=True))["50"] == pytest.approx(1 + np.log10(50 / 10**1.5) / 0.5)


def test_log_spacing_is_distinguished_from_linear():
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
