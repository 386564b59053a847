"""A short fault test; `make chaos FAULTS=200 SEED=1` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import services


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_faults_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    services.mariadb_server()  # where these run, the servers can be installed
    services.rabbitmq_server()
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--faults", "20", "--seed", "7"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 faults" in done.stdout.splitlines()[-1]
