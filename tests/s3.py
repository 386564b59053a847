"""A server that speaks S3, on a free loopback port, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.processes import free_port, wait_for


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
        """Return the URL of a folder in a new bucket."""
        name = f"eas-{uuid.uuid4().hex[:12]}"
        self.files().mkdir(name)
        return f"s3://{name}/plato"

    def buckets(self) -> list[str]:
        return list(self.files().ls(""))


@contextmanager
def s3_server() -> Iterator[S3]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(process, f"http://127.0.0.1:{port}/moto-api/"), "the S3 server")
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    assert process.poll() is None, "the S3 server ended"
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except OSError:
        return False
    return True
