"""A server that speaks S3, on a free loopback port, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

PATIENCE = 120.0


@dataclass(frozen=True)
class S3:
    """Where it is, and how to open it with fsspec."""

    url: str

    @property
    def options(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.url,
            "key": "testing-key",
            "secret": "testing-secret",
            "client_kwargs": {"region_name": "eu-west-2"},
        }

    def files(self) -> Any:
        import fsspec

        return fsspec.filesystem("s3", skip_instance_cache=True, **self.options)

    def new_bucket(self) -> str:
        """Return the URL of a folder in a bucket that nobody used before."""
        name = f"eas-{uuid.uuid4().hex[:12]}"
        self.files().mkdir(name)
        return f"s3://{name}/plato"

    def buckets(self) -> list[str]:
        return list(self.files().ls(""))


@contextmanager
def s3_server() -> Iterator[S3]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, f"http://127.0.0.1:{port}/moto-api/")
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "the S3 server ended"
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the S3 server does not answer")
