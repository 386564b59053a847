"""The page about notifications: its automation sends a message when a job fails."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.acceptance.conftest import Home
from tests.processes import MAX_TIMEOUT, ROOT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

AUTOMATION = ROOT / "docs" / "how_to" / "notifications" / "notify.yaml"
SAVE = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
block = CustomWebhookNotificationBlock(
    name="eas-alerts", url=sys.argv[1], allow_private_urls=True,
    json_data={"subject": "{{subject}}", "body": "{{body}}"}
)
print(block.save("eas-alerts", overwrite=True))
"""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Address of a web server, and the messages that it receives."""
    messages: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", messages
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("combination", ["sqlite+sql"], indirect=True)
def test_a_message_is_sent_when_a_job_fails(
    home: Home, tmp_path: Path, receiver: tuple[str, list[dict[str, str]]]
) -> None:
    address, messages = receiver
    saved = run(home, sys.executable, "-c", SAVE, address)
    text = AUTOMATION.read_text(encoding="utf-8")
    assert "00000000-0000-0000-0000-000000000000" in text
    file = tmp_path / "notify.yaml"
    file.write_text(text.replace("00000000-0000-0000-0000-000000000000", saved.split()[-1]), encoding="utf-8")
    prefect = Path(sys.executable).with_name("prefect")
    run(home, str(prefect), "automation", "create", "--from-file", str(file))
    try:
        for name, code in (("succeeds", 0), ("fails", 1)):
            task = {"task": "error"} if code else {"task": "null", "duration": 0}
            chain = tmp_path / f"{name}.json"
            chain.write_text(json.dumps({"job_name": name, "task_list": [task]}), encoding="utf-8")
            home.eas("run", str(chain), code=code)
        wait_for(lambda: messages, "a message")
    finally:
        run(home, str(prefect), "--no-prompt", "automation", "delete", "eas: message when a job fails")
    assert len(messages) == 1
    assert "Failed" in messages[0]["subject"]


def run(home: Home, *command: str) -> str:
    done = subprocess.run(command, env=home.environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
