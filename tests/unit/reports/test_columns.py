import json
import math
from datetime import datetime, timedelta

import numpy as np
import pytest

from reports import columns
from reports.columns import (
    ColumnNames,
    LoopValues,
    UnknownParametersError,
    iso_times,
    loop_parameters,
    numbers,
    parameter_keys,
)


def test_for_loops_give_their_parameter_and_while_loops_their_index():
    metadata = {"size": 0.1, "size_index": 3, "tda_index": 2, "other": 5}
    assert loop_parameters(metadata) == {"size": 0.1, "tda_index": 2}


def test_parameters_keep_the_order_of_their_first_appearance():
    one, two = {"b": 1, "b_index": 0}, {"a": 1, "a_index": 0, "b": 2, "b_index": 1}
    assert parameter_keys([[json.dumps(one)], [json.dumps(two)]]) == ["b", "a"]


def test_clashing_names_get_a_prefix_and_known_names_their_unit():
    names = ColumnNames(["host", "wall_clock [s]", "parameter_host"])
    assert names.choose("host", "parameter") == "parameter_host_2"
    assert names.choose("WALL_clock", "parameter") == "parameter_WALL_clock"
    assert names.choose("orbital_period", "parameter") == "orbital_period [days]"
    assert names.choose("orbital_period", "result") == "result_orbital_period [days]"
    assert names.choose(" ", "parameter") == "parameter"


def test_times_are_iso_8601_in_utc():
    assert iso_times([0, 1_795_336_778.0554, None, math.nan, -0.5]) == [
        "1970-01-01T00:00:00.000Z",
        "2026-11-22T08:39:38.055Z",
        "",
        "",
        "1969-12-31T23:59:59.500Z",
    ]
    assert iso_times([]) == []
    assert iso_times([253_402_300_800.0, 0.0]) == ["10000-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z"]
    assert iso_times([59.9996]) == ["1970-01-01T00:01:00.000Z"]


def test_numbers_turn_none_into_nan():
    assert numbers([1.23456789, None])[0] == 1.234568
    assert math.isnan(numbers([None])[0])


def test_times_are_those_of_the_standard_library():
    draw = np.random.default_rng(1)
    times = np.round(draw.uniform(-1e9, 4e9, 2000), 3).tolist()
    said = [
        f"{datetime(1970, 1, 1) + timedelta(milliseconds=round(each * 1000)):%Y-%m-%dT%H:%M:%S.%f}" for each in times
    ]
    assert iso_times(times) == [f"{each[:-3]}Z" for each in said]


def test_loop_values_are_forgotten_and_found_again(monkeypatch):
    monkeypatch.setattr(columns, "CACHED", 3)
    read = LoopValues(["a"])
    texts = [f'{{"a": {n}, "a_index": 0}}' for n in range(5)]
    for _ in range(2):
        assert read.columns(texts[:3]) == [(0, 1, 2)]
        assert read.columns(texts[2:]) == [(2, 3, 4)]


def test_loop_values_follow_their_columns_and_tell_of_unknown_ones():
    read = LoopValues(["b", "a"])
    assert read('{"a": 1, "a_index": 0, "b": "x", "b_index": 4}') == ("x", 1)
    assert read('{"b": 2, "b_index": 0, "c": 3}') == (2, None)
    assert read.columns(['{"a": 1, "a_index": 0}', "{}"]) == [(None, None), (1, None)]
    assert read.columns([]) == [(), ()]
    with pytest.raises(UnknownParametersError) as caught:
        read('{"new": 1, "new_index": 0}')
    assert caught.value.keys == ["new"]
