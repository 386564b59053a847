"""The web application on a real server within the test's process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from eas.app import App
from eas.web.application import create
from eas.web.security import Access

TIMEOUT = 60.0


@contextmanager
def serving(app: App, access: Access | None = None) -> Iterator[httpx.Client]:
    """Serve the pages of ``app`` on a free port, and give a client for it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    chosen = access or Access(hosts=frozenset())
    server = uvicorn.Server(uvicorn.Config(create(app, chosen), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        # The listening socket queues what comes before the server accepts it.
        with httpx.Client(base_url=address, timeout=TIMEOUT, follow_redirects=True, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(TIMEOUT)
        listener.close()
        assert not thread.is_alive()
