import io
import json
import math

import pandas as pd
from rich.console import Console

from reports import tables
from reports.columns import texts


def frame():
    return pd.DataFrame({"name": texts(["[red]x", "two\nlines"]), "wall [s]": [12345.678, math.nan], "failed": [0, 3]})


def printed(frame, **options):
    out = io.StringIO()
    tables.show(frame, Console(file=out, width=80, **options), title="t")
    return out.getvalue()


def test_outside_a_terminal_it_is_aligned_text():
    assert printed(frame()).splitlines() == [
        "name       wall [s]  failed",
        "[red]x        12346       0",
        "two lines                 3",
    ]


def test_on_a_terminal_it_is_a_table_and_markup_is_text():
    text = printed(frame(), force_terminal=True, color_system=None)
    assert "[red]x" in text
    assert "[s]" in text
    assert "failed" in text


def test_states_without_tasks_have_no_column_on_a_terminal():
    text = printed(frame().head(1), force_terminal=True, color_system=None)
    assert "failed" not in text


def test_what_finds_no_room_is_left_out_and_said():
    wide = pd.DataFrame({f"column_{n}": texts(["x" * 20]) for n in range(20)})
    text = printed(wide, force_terminal=True, color_system=None)
    assert "omitted" in text
    assert max(map(len, text.splitlines())) <= 100


def test_nothing_says_so():
    assert printed(frame().head(0)) == "nothing to show\n"


def test_json_has_names_without_units_and_null_for_unknown():
    out = io.StringIO()
    tables.write_json_list([frame().head(0), frame().head(1), frame().tail(1)], out)
    assert json.loads(out.getvalue()) == [
        {"name": "[red]x", "wall": 12345.678, "failed": 0},
        {"name": "two\nlines", "wall": None, "failed": 3},
    ]
    out = io.StringIO()
    tables.write_json_list([], out)
    assert json.loads(out.getvalue()) == []


def test_names_that_would_be_equal_keep_their_units():
    both = pd.DataFrame({"a [s]": [1], "a [MB]": [2], "b [s]": [3]})
    assert list(tables.records(both)) == [{"a [s]": 1, "a [MB]": 2, "b": 3}]
