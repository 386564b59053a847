"""Damaged, hostile and foreign files give one error that names them, never a traceback or all of the memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from eas.cli.try_task import try_task
from eas.errors import SettingsError
from eas.lightcurves import comments
from eas.settings import SETTINGS_FILE, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * 9000, "[" * 9000),
        ('{"a":' * 1500, '{"a":' * 1500),
        ("9" * 5000, None),
        ("9" * 30, "9" * 30),
        (str(2**63), str(2**63)),
        (str(2**63 - 1), 2**63 - 1),
        ("1" + " " * 9000 + "x", "1" + " " * 9000 + "x"),
        ("1 (" + " " * 9000 + "x", "1 (" + " " * 9000 + "x"),
    ],
    ids=range(8),
)
def test_metadata_in_comments_are_numbers_and_texts_that_can_be_kept(text: str, value: object) -> None:
    assert comments.parse(f"# #a={text}") == ("a", value)
    found, _ = comments.collect([f"# #orbital_period={text}"])
    assert found["orbital_period"] == (float(text) if text.isdigit() and isinstance(value, str) else value)


def test_a_very_long_comment_is_no_metadata() -> None:
    assert comments.parse("# #a=" + "x" * 20_000) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"5", b'"text"', b"null", b"{", b"[" * 100_000, b"\xff\xfe{}", b"\0", b'{"lease": []}',
     b'{"lease": NaN}',
     b'{"database_url": {"a": 1}}', b'{"database_url": "nonsense"}', b'{"lease": 1e999}'],
    ids=range(14),
)  # fmt: skip
def test_damaged_settings_are_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    for name in ("EAS_DATABASE_URL", "EAS_LEASE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / SETTINGS_FILE).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load().database()
    assert caught.value.hint


def test_a_folder_in_the_place_of_the_settings_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    (tmp_path / SETTINGS_FILE).mkdir()
    with pytest.raises(SettingsError, match="settings"):
        load()


def test_a_small_file_that_unpacks_to_much_is_held_to_the_memory_of_its_worker(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    block = b"0 1 0 0\n" * 1_000_000
    with gzip.open(bomb, "wb", 1) as stream:
        for _ in range(150):
            stream.write(block)
    shown = CliRunner().invoke(try_task, ["verify", "--input", f"lightcurve={bomb}", "--memory", "0.5"])
    assert shown.exit_code == 0 or shown.return_value == 1, shown.output
    assert "used more than 500 MB of memory" in shown.output
