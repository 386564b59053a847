import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas.errors import EASError, RequestError
from reports.columns import texts
from reports.write import csv_text, dated_and_latest, publish_latest, write_csv, write_table

NASTY = ["plain", 'a "quoted" word', "two\nlines", "comma, here", "", " blanks ", "tab\t", "'single'", "=1+1", "#", "é"]


def test_text_with_newlines_and_quotes_comes_back(tmp_path):
    frame = pd.DataFrame({"name, [unit]": texts(NASTY), "n": np.arange(len(NASTY))})
    path = write_csv(frame, tmp_path / "t.csv")
    back = pd.read_csv(path, keep_default_na=False)
    assert list(back.columns) == ["name, [unit]", "n"]
    assert back["name, [unit]"].tolist() == NASTY


def test_carriage_returns_and_zeros_do_not_break_lines():
    text = csv_text(pd.DataFrame({"a": texts(["x\r\ny\rz\0"]), "b": texts([1])}))
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ["x\ny\nz", "1"]]


def test_unknown_is_empty_and_infinite_is_a_word_that_readers_know():
    frame = pd.DataFrame({"a": [1.5, math.nan, math.inf, -math.inf], "b": texts([None, math.nan, True, 3])})
    assert csv_text(frame) == "a,b\n1.5,\n,\nInfinity,True\n-Infinity,3\n"
    assert np.isinf(pd.read_csv(io.StringIO(csv_text(frame)))["a"].iloc[2])


def test_only_text_beyond_ascii_gets_a_byte_order_mark(tmp_path):
    plain = write_csv(pd.DataFrame({"a": texts(["x"])}), tmp_path / "plain.csv")
    assert plain.read_bytes() == b"a\nx\n"
    parts = [pd.DataFrame({"a": texts(["x" * 700_000])}), pd.DataFrame({"a": texts(["ü" * 700_000])})]
    marked = write_csv(iter(parts), tmp_path / "marked.csv")
    assert marked.read_bytes() == b"\xef\xbb\xbfa\n" + b"x" * 700_000 + b"\n" + "ü".encode() * 700_000 + b"\n"
    assert list(pd.read_csv(marked).columns) == ["a"]


@given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False), st.integers(-(2**60), 2**60))))
def test_whatever_is_written_is_read_again(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    data = {"s": texts(columns[0]), "f": np.array(columns[1], float), "i": np.array(columns[2], np.int64)}
    text = csv_text(pd.DataFrame(data))
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    clean = [each.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "") for each in columns[0]]
    assert [row[0] for row in read] == clean
    assert [float(row[1]) for row in read] == list(columns[1])
    assert [int(row[2]) for row in read] == list(columns[2])


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")

    def parts():
        yield pd.DataFrame({"a": [1]})
        raise ValueError

    with pytest.raises(ValueError):
        write_csv(parts(), path)
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text() == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EASError, match=r"cannot write .*file/t\.csv"):
        write_csv(pd.DataFrame({"a": [1]}), tmp_path / "file" / "t.csv")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path):
    pytest.importorskip("pandas")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(RequestError, match="pyarrow"):
            write_table(pd.DataFrame({"a": [1]}), tmp_path / "t.parquet")
        return
    mixed = pd.DataFrame({"a": texts([1, "x", None]), "b": texts([True, None, False])})
    write_table(mixed, tmp_path / "t.parquet")
    assert pd.read_parquet(tmp_path / "t.parquet")["a"].tolist()[:2] == ["1", "x"]


def test_latest_is_a_copy_of_the_dated_file(tmp_path):
    dated, latest = dated_and_latest(tmp_path, "progress", now=0.0)
    assert (dated.name, latest.name) == ("progress_1970-01-01.csv", "progress_latest.csv")
    write_csv(pd.DataFrame({"a": [1]}), dated)
    assert publish_latest(dated, latest).read_text() == "a\n1\n"
