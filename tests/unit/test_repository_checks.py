"""The checks of vocabulary, spelling and sizes find what they are for."""

import re
from pathlib import Path

import pytest

from tests import code_shape, spelling, vocabulary


def found_in(text, tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    return list(vocabulary.occurrences("page.md", vocabulary.patterns()))


@pytest.mark.parametrize("word", ["no" + "body", "No" + "body", "a" + "new", "what\nbe" + "came of", "Tal" + "ly"])
def test_a_replaced_word_is_found_with_its_line(word, tmp_path, monkeypatch):
    (line,) = found_in(f"first line\n{word}\n", tmp_path, monkeypatch)
    assert line.startswith("page.md:2: ")


@pytest.mark.parametrize(
    "word", ["renewed", "in flight", "serviceAccount", "secured", "release_lost_workers", "outside"]
)
def test_words_of_the_field_are_no_matches(word, tmp_path, monkeypatch):
    assert found_in(word, tmp_path, monkeypatch) == []


def test_a_long_function_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(code_shape, "ROOT", tmp_path)
    path = tmp_path / "module.py"
    body = "\n".join(f"    x{n} = {n}" for n in range(code_shape.MAX_FUNCTION_LINES + 1))
    path.write_text(
        f'def long():\n    """Documented\n\n    at length."""\n{body}\n\n\ndef short():\n    """Documented."""\n'
    )
    assert list(code_shape.violations(path)) == ["module.py:1: long has 41 body lines (at most 40)"]


def test_a_long_module_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(code_shape, "ROOT", tmp_path)
    (tmp_path / "module.py").write_text("x = 1\n" * (code_shape.MAX_MODULE_LINES + 1))
    assert list(code_shape.violations(tmp_path / "module.py")) == ["module.py:1: 401 lines (at most 400)"]


def test_a_misspelt_word_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("A chain of tsks.\n\n`tsks` and\n```sh\ntsks\n```\n[link](tsks.md)\nThe lihgt curve's flux\n")
    assert list(spelling.mistakes(spelling.prose(page))) == [(1, "tsks"), (8, "lihgt")]


def test_every_word_of_our_list_is_needed() -> None:
    used = {
        re.sub(r"['\u2019]s?$", "", word)
        for page in spelling.pages()
        for word in spelling.WORD.findall(spelling.prose(page))
    }
    lower = {word.lower() for word in used}
    assert sorted(each for each in spelling.extra_words() if each not in used and each not in lower) == []
    assert sorted(each for each in spelling.extra_words() if spelling.dictionary().lookup(each)) == []


def test_the_documentation_is_spelt_right() -> None:
    assert spelling.main(spelling.pages()) == 0
