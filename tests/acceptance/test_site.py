"""The documentation site: its commands, its pages, and that it loads nothing from other hosts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest

from tests.processes import MAX_TIMEOUT, ROOT, free_port, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "link": "href"}
"""Elements that make a browser load something, and the attribute that names it."""


class Addresses(HTMLParser):
    """Collect what a page loads and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in LOADED and (address := attributes.get(LOADED[tag])):
            self.loaded.append(address)
        if tag == "a" and (address := attributes.get("href")):
            self.links.append(address)


@dataclass
class Site:
    """The site as it is served."""

    url: str
    folder: Path

    def pages(self) -> dict[str, str]:
        return {str(path.relative_to(self.folder)): path.read_text("utf-8") for path in self.folder.rglob("*.html")}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("site") / "html", free_port()
    output = folder.with_name("output")
    with output.open("wb") as stream:
        process = subprocess.Popen(
            ["make", "docs-serve", f"DOCS_PORT={port}", f"SITE={folder}"],
            cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    served = Site(f"http://127.0.0.1:{port}/", folder)
    try:
        wait_for(lambda: process.poll() is not None or answers(served.url), "the site")
        assert process.poll() is None, output.read_text()
        yield served
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(MAX_TIMEOUT)


def test_nothing_is_loaded_from_other_hosts(site: Site) -> None:
    loaded = [address for text in site.pages().values() for address in Addresses(text).loaded]
    assert len(loaded) > 100
    assert [address for address in loaded if urlsplit(address).netloc or urlsplit(address).scheme] == []
    for sheet in site.folder.rglob("*.css"):
        text = sheet.read_text("utf-8")
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)\s]*", text) == [], sheet


def test_links_lead_from_the_first_page_to_every_page(site: Site) -> None:
    seen, ahead = set(), [urljoin(site.url, "index.html")]
    while ahead:
        url = ahead.pop()
        if url in seen:
            continue
        seen.add(url)
        with urllib.request.urlopen(url) as answer:
            if answer.headers.get_content_type() != "text/html":
                continue
            text = answer.read().decode()
        links = [urldefrag(urljoin(url, address)).url for address in Addresses(text).links]
        ahead += [each for each in links if each.startswith(site.url)]
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {urljoin(site.url, str(path)) for path in written} - seen == set()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("No mistake.", 0),
        ("[a page](nowhere.md)", 1),
        ("[a heading](index.md#nowhere)", 1),
        ("![a picture](img/nowhere.png)", 1),
        ("```{unknown}\n```", 1),
    ],
)
def test_a_mistake_fails_the_build(tmp_path: Path, text: str, code: int) -> None:
    asked = subprocess.run(["make", "--dry-run", "docs"], cwd=ROOT, capture_output=True, text=True, check=True)
    (command,) = [line for line in asked.stdout.splitlines() if "sphinx-build" in line]
    source = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "static", source / "static")
    for name in ("conf.py", "chain.schema.json", "chain.strict.schema.json"):
        shutil.copy(ROOT / "docs" / name, source)
    (source / "index.md").write_text(f"# A page\n\n{text}\n", encoding="utf-8")
    arguments = [*shlex.split(command)[:-2], str(source), str(tmp_path / "html")]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
