"""Every table on a terminal of 60 and of 80 columns: nothing is wider, and the columns that matter are there."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

import eas
from tests.integration.harness import System
from tests.processes import MAX_TIMEOUT, clean_environment

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)
CURVE = eas.expr("'a_light_curve_with_a_long_name_{planet_size_index}.lc'.format(**metadata)")
SPECS = {"duration": 8, "orbital_period": 2, "sampling_cadence": 1800,
         "planet_radius": eas.expr("metadata['planet_size']")}  # fmt: skip
SWEEP = eas.for_loop(
    "planet_size",
    [
        eas.task("synthesis_batman", outputs={"lightcurve": CURVE}, specs=SPECS),
        eas.task("transit_search_bls_reference", name="a search", inputs={"lightcurve": CURVE},
                 search_settings={"period_min": 1, "period_max": 3}),
    ],
    values=[0.1, 1.0],
)  # fmt: skip
CHAIN = eas.chain([SWEEP, eas.task("error", name="broken")], job_name="a_job_with_a_rather_long_name")
TABLES = {
    "jobs": {"job", "name", "state", "failed"},
    "files": {"file", "id", "size"},
    "show 8": {"file", "size"},
    "plan chain.json": {"task type", "at least", "at most"},
    "plan chain.json --estimate --workers 2": {"worker type", "tasks", "CPU time", "memory"},
    "report progress": {"task type", "failed", "done"},
    "report timings": {"task type", "state", "median"},
    "report pass-fail": {"task type", "outcome"},
    "report errors --grouped": {"count", "last line"},
    "report queue --all": {"task type", "workers"},
    "report workers --all": {"worker", "state", "done"},
    "report timeline": {"task type", "state"},
    "workers --all": {"worker", "state"},
}
"""Commands, and words of their headers."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("narrow")
    system = System(folder / "eas-data")
    try:
        system.run(CHAIN)
    finally:
        system.app.close()
    (folder / "chain.json").write_text(json.dumps(CHAIN))
    yield folder


MARK = "=== "
PROGRAM = f"""
import sys
from eas.cli import cli
for command in sys.argv[1:]:
    print({MARK!r} + command, flush=True)
    cli.main(command.split(), prog_name="eas", standalone_mode=False)
"""


def on_a_terminal(folder: Path, columns: int) -> dict[str, list[str]]:
    """Return the lines that each command prints on a terminal, without colours; one process runs them all."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in clean_environment().items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, *TABLES], cwd=folder, env=environment | {"TERM": "xterm"},
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    printed = b""
    try:
        while part := os.read(leader, 65536):
            printed += part
    except OSError:
        pass  # the process has closed the terminal
    os.close(leader)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode()).replace("\r", "")
    assert process.wait() == 0, text
    parts = [part.partition("\n") for part in text.split(MARK)[1:]]
    return {command: lines.split("\n") for command, _, lines in parts}


@pytest.fixture(scope="module", params=[60, 80])
def shown(request: pytest.FixtureRequest, home: Path) -> tuple[int, dict[str, list[str]]]:
    return request.param, on_a_terminal(home, request.param)


def is_prose(line: str) -> bool:
    """Return whether a line is no part of a table: sentences, and the parts of `eas show`, may be longer."""
    return line.startswith(("(columns that do not fit", "assumed:", "wall time", "worker types:", "levels of", "  "))


@pytest.mark.parametrize("command", TABLES)
def test_a_table_fits_and_keeps_its_key_columns(command: str, shown: tuple[int, dict[str, list[str]]]) -> None:
    columns, lines = shown[0], shown[1][command]
    wide = [line for line in lines if len(line.rstrip()) > columns and not is_prose(line)]
    assert wide == []
    text = " ".join(" ".join(lines).split())
    assert {words for words in TABLES[command] if words not in text} == set()


def test_what_is_left_out_is_named(shown: tuple[int, dict[str, list[str]]]) -> None:
    assert "(columns that do not fit: " in "\n".join(shown[1]["jobs"])
    assert "columns omitted:" in " ".join(" ".join(shown[1]["report progress"]).split())
