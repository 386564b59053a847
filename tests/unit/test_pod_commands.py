"""How the commands that pods run fail: in words and with an exit code, never with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("module", "settings", "code", "said"),
    [
        ("setup", {"EAS_DATABASE_URL": "oracle://eas:secret@db/eas"}, 2, "error: oracle is no engine"),
        ("reconcile", {"KUBECONFIG": "/no/config"}, 3, "error: no Kubernetes cluster is configured"),
    ],
)
def test_it_says_what_is_wrong(tmp_path: Path, module: str, settings: dict[str, str], code: int, said: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "KUBE", "PREFECT_"))}
    kept |= {"EAS_HOME": str(tmp_path), "EAS_ALIVE_FILE": str(tmp_path / "alive")}
    kept |= {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", f"infra.deploy.{module}"]
    done = subprocess.run(command, env=kept | settings, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(said)
    assert "\n  -> " in done.stdout
    assert "secret" not in done.stdout
