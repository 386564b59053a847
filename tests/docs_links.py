"""Check that every relative link and picture in the documentation leads somewhere, and that the map is complete.

The map is the list of modules in docs/explanation/architecture.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INCLUDE = re.compile(r"^```\{include\} (\S+)$", re.MULTILINE)
ROOT = Path(__file__).resolve().parent.parent


def pages() -> list[Path]:
    """Return all Markdown pages that belong to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split()]


def broken_links(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page if not path else (page.parent / path)
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(f"{page.relative_to(ROOT)}: {target}")
    return broken


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual hosts make them."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+\s+(.*)$", text, flags=re.MULTILINE)
    own = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return own.union(*(anchors(page.parent / name) for name in INCLUDE.findall(text)))


def listed_modules() -> set[str]:
    """Return the modules of ``eas`` that the architecture page lists."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    parts = re.findall(r"^### `(eas[\w/]*)`$(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    return {
        f"{package}/{name}" for package, text in parts for name in re.findall(r"^\| `(\w+\.py)` \|", text, re.MULTILINE)
    }


def existing_modules() -> set[str]:
    """Return the modules of ``eas`` in the tree, migrations left out."""
    paths = [path.relative_to(ROOT) for path in (ROOT / "eas").rglob("*.py")]
    return {str(path) for path in paths if not path.name.startswith("__") and "versions" not in path.parts}


def missing_from_architecture() -> list[str]:
    """Return the modules that the map lacks, and those that it names and that do not exist."""
    named, present = listed_modules(), existing_modules()
    page = "docs/explanation/architecture.md"
    lines = [f"{page}: give {name} a line" for name in sorted(present - named)]
    return lines + [f"{page}: {name} does not exist" for name in sorted(named - present)]


if __name__ == "__main__":
    found = [link for page in pages() for link in broken_links(page)] + missing_from_architecture()
    print("\n".join(found) or f"links of {len(pages())} pages: all lead somewhere; the map names every module")
    sys.exit(bool(found))
