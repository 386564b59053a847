"""Check the spelling of the documentation: ``python -m tests.spelling``.

Words are those of the English dictionary that comes with spylls, and of ``docs/words.txt``: terms of
the field, names, and British spelling. Code and addresses are left out.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORDS = ROOT / "docs" / "words.txt"
IGNORED_PATTERN = re.compile(
    r"```.*?```|^ {4,}\S.*?$|`[^`]*`|<!--.*?-->|\]\([^)]*\)|https?://\S+|\$[^$\n]+\$|<[^>\n]+>",
    re.DOTALL | re.MULTILINE,
)
WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def pages() -> list[Path]:
    """Return the pages and notebooks of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.ipynb"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split() if (ROOT / name).is_file()]


def prose(page: Path) -> str:
    """Return the text of a page without code; line breaks stay, for the numbers of lines."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return IGNORED_PATTERN.sub(lambda found: " " + "\n" * found[0].count("\n"), text)


@cache
def dictionary() -> Any:
    """Return the dictionary of spylls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spylls.hunspell import Dictionary, data

        return Dictionary.from_files(str(Path(data.__path__[0]) / "en" / "en_US"))


@cache
def extra_words() -> frozenset[str]:
    """Return the words of our list."""
    return frozenset(WORDS.read_text(encoding="utf-8").split())


@cache
def known(word: str) -> bool:
    """Return whether a word is spelt as a dictionary or our list has it."""
    plain = re.sub(r"['\u2019]s?$", "", word)
    if len(plain) < 2 or plain in extra_words() or plain.lower() in extra_words():
        return True
    return bool(dictionary().lookup(plain.replace("\u2019", "'")))


def mistakes(text: str) -> Iterator[tuple[int, str]]:
    """Give the line and the word of each word that is not known."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield from ((number, word) for word in WORD.findall(line) if not known(word))


def main(paths: Iterable[Path]) -> int:
    """Print each mistake; return the number of mistakes."""
    found = [f"{path.relative_to(ROOT)}:{line}: {word}" for path in paths for line, word in mistakes(prose(path))]
    print("\n".join(found) or f"spelling of {len(list(pages()))} pages: every word is known")
    return len(found)


if __name__ == "__main__":
    sys.exit(bool(main(pages())))
