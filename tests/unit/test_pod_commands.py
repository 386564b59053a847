"""How the commands that pods run fail: in words and with an exit code, never with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from eas.errors import ServiceError
from infra.deploy import await_prefect, setup
from tests.processes import TIMEOUT


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
    done = subprocess.run(command, env=kept | settings, capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(said)
    assert "\n  -> " in done.stdout
    assert "secret" not in done.stdout


def test_a_step_of_the_setup_that_prefect_is_away_for_is_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match="cannot be reached"):
        setup._prefect("work-pool", "ls")
    here = temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"})
    with here, pytest.raises(ServiceError, match="cannot be reached"):
        setup._remove_others({"eas-base"})
    tries: list[int] = []
    monkeypatch.setattr(setup.time, "sleep", tries.append)

    def step() -> None:
        if len(tries) < 2:
            raise ServiceError("away", hint="wait")

    setup._with_retries(step)
    assert len(tries) == 2


def test_a_run_waits_until_prefects_api_answers_and_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class API(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(503 if len(asked) < 3 else 200)
            self.send_response(asked[-1])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), API) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        monkeypatch.setattr(await_prefect, "POLL_INTERVAL", 0.01)
        monkeypatch.setattr(sys, "argv", ["await_prefect", "60"])
        assert await_prefect.main() == 0
        server.shutdown()
    assert asked == [503, 503, 503, 200]
    monkeypatch.setattr(sys, "argv", ["await_prefect", "0.05"])
    assert await_prefect.main() == 0, "the flow run says what is wrong"
