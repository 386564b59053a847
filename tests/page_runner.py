"""Follow a page of the documentation as a reader would: write its files, run its commands, compare what they print.

A page holds fenced blocks of these kinds; others are for reading only.

- ``{code-block} LANGUAGE`` with a ``:caption:``: a file of that name.
- ``console``: commands behind ``$ ``, each with the lines that it prints. ``...`` in a line represents any text, and
  as a line any number of lines. A command may end with a comment ``# exit code N``.
- ``python``: code that runs in one session for each page.
"""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^(`{3,})(\{code-block\} )?(\w+)\n(:caption: (\S+)\n\n?)?(.*?)^\1$", re.MULTILINE | re.DOTALL)
EXIT_CODE = re.compile(r"\s+# exit code (\d+)$")
MARK = "\x1e"
ENDED = re.compile(f"{MARK}(\\d+){MARK}")
WIDTH = 100
"""Columns of the reader's terminal."""


@dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command of the shell, what it prints, and its exit code."""

    text: str
    expected: str
    code: int


@dataclass(frozen=True)
class Python:
    """Code in a session of Python."""

    text: str


def steps(page: str) -> Iterator[File | Command | Python]:
    """Give what a page asks its reader to do, in order."""
    for block in BLOCK.finditer(page):
        directive, language, name, text = block[2], block[3], block[5], block[6]
        if directive and name:
            yield File(name, text)
        elif language == "console":
            yield from _commands(text)
        elif language == "python":
            yield Python(text)


def _commands(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        while command.endswith("\\"):
            line, _, expected = expected.partition("\n")
            command = f"{command}\n{line}"
        code = EXIT_CODE.search(command)
        yield Command(EXIT_CODE.sub("", command), expected.strip("\n"), int(code[1]) if code else 0)


def matches(expected: str, printed: str) -> bool:
    """Return whether a command printed what a page shows.

    ``...`` in a line there represents any text of this line, and as a line any number of lines.
    """
    pattern = ""
    for line in expected.strip("\n").splitlines():
        parts = (re.escape(part) for part in line.split("..."))
        pattern += r"(?:[^\n]*\n)*" if line == "..." else r"[^\n]*".join(parts) + r"\n"
    return re.fullmatch(pattern, printed.strip("\n") + "\n" if printed.strip("\n") else "") is not None


class Shell:
    """A reader's shell, which keeps its variables, folder and background jobs from one command to the next.

    Parameters
    ----------
    folder:
        Where it starts.
    environment:
        Its variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        terminal = {"TERM": "xterm", "COLUMNS": str(WIDTH), "LINES": "40", "NO_COLOR": "1"}
        self._terminal, end = pty.openpty()
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], env={**environment, **terminal}, cwd=folder, start_new_session=True,
            stdin=subprocess.PIPE, stdout=end, stderr=end, text=True,
        )  # fmt: skip
        os.close(end)

    def run(self, command: str, limit: float) -> tuple[int, str]:
        """Run a command at a terminal; return its exit code and the lines that stay on the screen.

        Raises
        ------
        TimeoutError
            It has not ended within the limit [s].
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '{MARK}%d{MARK}' $?\n")
        self._process.stdin.flush()
        text, deadline = "", time.monotonic() + limit
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while not (ended := ENDED.search(text)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{command}: not ended within {limit:.0f} s; printed:\n{on_screen(text)}")
            if select.select([self._terminal], [], [], 0.1)[0]:
                text += decoder.decode(os.read(self._terminal, 65536))
        return int(ended[1]), on_screen(text[: ended.start()])

    def close(self) -> None:
        """End the shell and what it left in the background."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        os.close(self._terminal)


CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|([\r\n])")


def on_screen(text: str) -> str:
    """Return what a terminal shows in the end, without blanks at the ends of lines.

    Lines that a live display rewrites (carriage return, cursor up, erase line) are there as they were written last.
    """
    lines, row, column = [""], 0, 0
    end = 0
    for control in [*CONTROL.finditer(text), None]:
        written = text[end : control.start() if control else None]
        lines[row] = lines[row].ljust(column)[:column] + written + lines[row][column + len(written) :]
        column += len(written)
        if control is None:
            break
        end = control.end()
        argument, command = control[1] or "", control[3] or control[2]
        if command == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif command == "\r":
            column = 0
        elif command == "A":
            row = max(0, row - int(argument or 1))
        elif command == "K":
            lines[row] = "" if argument == "2" else lines[row][:column]
    return "\n".join(line.rstrip() for line in lines)


class PageRunner:
    """A reader who does what a page says.

    Parameters
    ----------
    folder:
        Where the reader's terminal starts, and where its files are written.
    environment:
        Variables of the terminal.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self.shell = Shell(folder, environment)

    def run(self, page: Path, limit: float) -> None:
        """Do all steps of a page; raise AssertionError at the first that does not go as the page says.

        Parameters
        ----------
        page:
            A page of Markdown.
        limit:
            Time for each command [s].
        """
        script = ""
        for step in steps(page.read_text(encoding="utf-8")):
            if isinstance(step, File):
                (self._folder / step.name).write_text(step.text, encoding="utf-8")
            elif isinstance(step, Python):
                script += step.text
                (self._folder / "session.py").write_text(script, encoding="utf-8")
                code, printed = self.shell.run("python session.py", limit)
                assert code == 0, f"{page.name}: the Python session\n{script}\nprinted:\n{printed}"
            else:
                code, printed = self.shell.run(step.text, limit)
                seen = f"{page.name}: $ {step.text}\nexit code {code}, printed:\n{printed}\nexpected:\n{step.expected}"
                assert code == step.code, seen
                assert matches(step.expected, printed), seen
