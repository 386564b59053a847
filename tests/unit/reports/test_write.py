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
from reports.files import csv_text, dated_and_latest, publish_latest, write_csv, write_table

NASTY = ["plain", 'a "quoted" word', "two\nlines", "comma, here", "", " blanks ", "tab\t", "'single'", "=1+1", "#", "é"]


def test_text_with_newlines_and_quotes_comes_back(tmp_path):
    frame = pd.DataFrame({"name, [unit]": texts(NASTY), "n": np.arange(len(NASTY))})
    path = write_csv(frame, tmp_path / "t.csv")
    back = pd.read_csv(path, keep_default_na=False)
    assert list(back.columns) == ["name, [unit]", "n"]
    assert back["name, [unit]"].str.removeprefix("'").tolist() == NASTY


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
    assert [row[0].removeprefix("'") for row in read] == clean
    assert [float(row[1]) for row in read] == list(columns[1])
    assert [int(row[2]) for row in read] == list(columns[2])


FEW_DECIMALS = st.one_of(
    st.integers(-(10**16), 10**16).map(lambda n: n / 1e6), st.integers(-200, 200).map(lambda n: n / 1e6)
)
FLOATS = st.lists(
    st.one_of(FEW_DECIMALS, st.sampled_from([0.0, -0.0, math.nan, 1e-4, 9.9e-5, 999_999_999.999999])), min_size=1
)


@given(st.one_of(FLOATS, st.lists(st.floats(), min_size=1)), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_numbers_are_written_as_python_writes_them(reals, whole):
    words = ["" if math.isnan(x) else f"{x!r}".replace("inf", "Infinity") for x in reals]
    assert csv_text(pd.DataFrame({"x": np.array(reals)}), header=False).split("\n")[:-1] == words
    assert csv_text(pd.DataFrame({"x": texts(reals)}), header=False).split("\n")[:-1] == words
    assert csv_text(pd.DataFrame({"n": np.array(whole)}), header=False).split("\n")[:-1] == list(map(str, whole))


@pytest.mark.parametrize("long", ["x" * 65, "naïve", "plain"])
def test_many_rows_are_written_whole(long):
    count = 25_000
    numbers = np.arange(count) / 8
    frame = pd.DataFrame({"s": texts([long, "", "a,b"] * count)[:count], "x": numbers, "n": np.arange(count)})
    words = ([long, "", '"a,b"'] * count)[:count]
    wanted = [f"{text},{x!r},{n}" for n, (text, x) in enumerate(zip(words, numbers.tolist(), strict=True))]
    assert csv_text(frame) == "\n".join(["s,x,n", *wanted, ""])


def test_zeros_keep_their_sign_among_numbers_of_many_digits():
    assert csv_text(pd.DataFrame({"x": texts([0.0, -0.0, 1 / 3])})) == f"x\n0.0\n-0.0\n{1 / 3!r}\n"


def test_what_utf_8_cannot_say_is_escaped():
    assert csv_text(pd.DataFrame({"a": texts(["\ud800"])})) == "a\n\\ud800\n"


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
    dated, latest = dated_and_latest(tmp_path, "progress", ".csv", 0.0)
    assert (dated.name, latest.name) == ("progress_1970-01-01.csv", "progress_latest.csv")
    write_csv(pd.DataFrame({"a": [1]}), dated)
    assert publish_latest(dated, latest).read_text() == "a\n1\n"
