"""Compiled code is found by the content of its source: a second clone of a user compiles nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

numba = pytest.importorskip("numba")

from eas.tasks import numba_cache  # noqa: E402

SOURCE = "import numba\n\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n"


def clone(folder: Path, source: str) -> ModuleType:
    folder.mkdir()
    path = folder / "doubling.py"
    path.write_text(source, encoding="utf-8")
    found = importlib.util.spec_from_file_location("doubling", path)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules["doubling"] = module
    found.loader.exec_module(module)
    return module


def hits(module: ModuleType) -> int:
    return sum(module.double.stats.cache_hits.values())


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))


def test_equal_sources_share_what_was_compiled(tmp_path: Path) -> None:
    first = clone(tmp_path / "first", SOURCE)
    assert first.double(2) == 4
    second = clone(tmp_path / "second", SOURCE)
    assert second.double(3) == 6
    assert (hits(first), hits(second)) == (0, 1)


def test_a_changed_source_is_compiled_again(tmp_path: Path) -> None:
    clone(tmp_path / "first", SOURCE).double(2)
    changed = clone(tmp_path / "second", SOURCE.replace("2 * x", "x + x + 1"))
    assert changed.double(3) == 7
    assert hits(changed) == 0


def test_the_folder_is_the_users_where_none_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert numba_cache.folder() == tmp_path / "eas" / "numba"
