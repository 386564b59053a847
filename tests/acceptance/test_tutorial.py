"""A reader follows the tutorial word by word, in a fresh copy of the repository, and sees what the pages show."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.page_runner import Command, PageRunner, matches, on_screen, steps
from tests.processes import MAX_TIMEOUT, ROOT, clean_environment

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

TUTORIAL = ROOT / "docs" / "tutorial"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRunner]:
    """A reader with a terminal in a copy of the repository, without an environment of Python and without data."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    clone = tmp_path_factory.mktemp("reader") / "eas-on-prefect"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # deleted and not committed yet: not there
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    environment = {name: value for name, value in clean_environment().items() if name != "VIRTUAL_ENV"}
    following = PageRunner(clone, environment)
    yield following
    following.shell.run("env -u EAS_HOME eas server stop", MAX_TIMEOUT)  # the runs keep it for the next one
    following.shell.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["first_chain.md", "detection_limit_study.md"])
def test_a_reader_gets_what_the_tutorial_shows(reader: PageRunner, page: str) -> None:
    """In this order: the second page builds on the first."""
    reader.run(TUTORIAL / page, limit=MAX_TIMEOUT)


@pytest.mark.slow
def test_a_reader_moves_to_a_database_server(reader: PageRunner, empty_mariadb: str) -> None:
    url = make_url(empty_mariadb)
    reader.shell.run(
        f"export DB_HOST={url.host} DB_PORT={url.port} DB_USER={url.username} DB_NAME={url.database}", MAX_TIMEOUT
    )
    reader.shell.run(f"export EAS_DB_PASSWD={url.password}", MAX_TIMEOUT)
    reader.run(TUTORIAL / "laptop_to_cluster.md", limit=MAX_TIMEOUT)


def test_each_command_of_the_tutorial_is_read() -> None:
    for page in TUTORIAL.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        commands = [each for each in steps(text) if isinstance(each, Command)]
        assert len(commands) == sum(line.startswith("$ ") for line in text.splitlines()), page
        assert "```sh\n" not in text, f"{page}: commands that no test runs"


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\n...\nc", "a\nb\nb\nc\n", True),
        ("a ... c", "a b c", True),
        ("a\nc", "a\nb\nc", False),
        ("", "a", False),
        ("a", "", False),
    ],
)
def test_lines_that_a_page_shows_are_compared(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same


def test_a_live_display_is_read_as_it_ends() -> None:
    table = "\x1b[1mjob: running\x1b[0m\r\n1 of 2\r\n"
    again = "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2Kjob: done\r\n2 of 2\r\n"
    assert on_screen(f"start\r\n{table}{again}file\r\n") == "start\njob: done\n2 of 2\nfile\n"


def test_a_page_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one\none\n$ (exit 3) # exit code 3\n$ echo two\nthree\n```\n", encoding="utf-8")
    (tmp_path / "home").mkdir()
    reader = PageRunner(tmp_path / "home", clean_environment())
    with pytest.raises(AssertionError, match="echo two"):
        reader.run(page, limit=60)
    reader.shell.close()
