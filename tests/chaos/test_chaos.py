"""A short fault test; `make chaos FAULTS=1500 SEED=1` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import services
from tests.processes import MAX_TIMEOUT

COMBINATIONS = [f"--combination={each}" for each in ("sqlite+sql", "mariadb+sql", "mariadb+rabbitmq")]
"""Each has a share of the faults, a fifth: 60 of the 100 are injected here."""


@pytest.mark.slow
@pytest.mark.timeout(MAX_TIMEOUT)
def test_sixty_faults_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    services.mariadb_server()  # where these run, the servers can be installed
    services.rabbitmq_server()
    done = subprocess.run(
        # The newer servers are part of `make chaos`: their installation may take longer than this test.
        [sys.executable, "-m", "tests.chaos", "--faults", "100", "--seed", "7", *COMBINATIONS],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing lost, nothing doubled" in done.stdout.splitlines()[-1]
