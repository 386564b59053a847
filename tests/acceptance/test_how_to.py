"""How-to guides, followed word by word in a folder of their own; the script for SLURM runs as a shell script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import Home
from tests.page_runner import PageRunner
from tests.processes import MAX_TIMEOUT, ROOT, clean_environment, wait_for

pytestmark = [pytest.mark.timeout(MAX_TIMEOUT), pytest.mark.slow]

HOW_TO = ROOT / "docs" / "how_to"


def test_a_chain_is_repaired_backed_up_and_moved(tmp_path: Path) -> None:
    """The second page saves what the first has made."""
    commands = Path(sys.executable).parent
    environment = clean_environment()
    reader = PageRunner(tmp_path, environment | {"PATH": f"{commands}{os.pathsep}{environment['PATH']}"})
    try:
        reader.run(HOW_TO / "failed_chain.md", limit=MAX_TIMEOUT)
        reader.run(HOW_TO / "backup.md", limit=MAX_TIMEOUT)
    finally:
        reader.shell.run("env -u EAS_HOME eas server stop", MAX_TIMEOUT)
        reader.shell.close()


@pytest.mark.parametrize("combination", ["sqlite+sql"], indirect=True)
def test_an_element_of_the_array_is_a_worker_that_sigterm_ends(plain_home: Home) -> None:
    """SLURM sends SIGTERM to the shell of the script (``--signal=B:TERM``)."""
    plain_home.eas("db", "init", code=0)
    environment = plain_home.environment | {
        "EAS": str(Path(sys.executable).with_name("eas")),
        "EAS_HOME": str(plain_home.folder / "eas-data"),
    }
    script = HOW_TO / "slurm" / "workers.sbatch"
    process = subprocess.Popen(["bash", str(script), "eas-base"], env=environment, cwd=plain_home.folder)
    try:
        wait_for(lambda: process.poll() is not None or alive(plain_home), "the worker")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(MAX_TIMEOUT) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def alive(home: Home) -> bool:
    """Return whether a worker is alive, as the task database has it."""
    return bool(json.loads(home.eas("workers", "--json").stdout))
