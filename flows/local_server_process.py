"""The process of a local Prefect server: ``python -m flows.local_server_process FOLDER IDLE``.

It writes its address before it imports Prefect, which takes seconds.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flows import prefect_database
from flows.local_server import ADDRESS, LOCK, USERS, Address, lock

LOCK_PATIENCE = 1.0
"""Time to wait for the lock [s], because other processes hold it briefly to check whether a server runs."""
CHECK_SECONDS = 0.5
"""Interval between two checks whether the server is in use [s]."""
CLOSE_SECONDS = 5
"""Maximum time that open connections delay the shutdown [s]."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class UseCounter:
    """ASGI middleware that records when the application was last used.

    Health checks do not count as use; open connections do, for example of a page in a browser.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self._active = 0
        self._used = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one connection."""
        if scope["type"] == "lifespan" or scope["path"].endswith("/health"):
            await self.application(scope, receive, send)
            return
        self._active += 1
        try:
            await self.application(scope, receive, send)
        finally:
            self._active -= 1
            self.use()

    def use(self) -> None:
        """Note a use."""
        self._used = time.monotonic()

    @property
    def idle(self) -> float:
        """Time since the last use [s]."""
        return 0.0 if self._active else time.monotonic() - self._used


def serve(folder: Path, idle: float) -> None:
    """Serve until nothing has used the server for ``idle`` seconds, or SIGTERM; not at all if another one runs."""
    with ExitStack() as stack:
        held = stack.enter_context((folder / LOCK).open("a"))
        if not lock(held, fcntl.LOCK_EX, LOCK_PATIENCE):
            return
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        address = Address(os.getpid(), listening.getsockname()[1], time.time())
        written = folder / f"{ADDRESS}.new"
        written.write_text(json.dumps(address._asdict()))
        written.replace(folder / ADDRESS)
        stack.callback((folder / ADDRESS).unlink, missing_ok=True)
        # The lock that is acquired here is held until the process ends: see flows/local_server.py.
        users = stack.enter_context((folder / USERS).open("a"))
        prefect_database.configure(folder)
        os.environ["PREFECT_SERVER_UI_API_URL"] = address.url
        asyncio.run(_serve(folder, listening, lambda: lock(users, fcntl.LOCK_EX), idle))


async def _serve(folder: Path, listening: socket.socket, take: Callable[[], bool], idle: float) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    await prefect_database.prepare(folder)
    application = UseCounter(create_app(final=True))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=CLOSE_SECONDS))
    watching = asyncio.create_task(_stop_when_idle(server, application, take, idle))
    await server.serve([listening])
    await watching


async def _stop_when_idle(server: Any, application: UseCounter, take: Callable[[], bool], idle: float) -> None:
    while not server.should_exit:
        await asyncio.sleep(CHECK_SECONDS)
        if not server.started:
            application.use()
        elif application.idle >= idle:
            if take():
                server.should_exit = True
            else:
                application.use()
    # The server's background services may not stop, so end the process.
    timer = threading.Timer(2 * CLOSE_SECONDS, os._exit, [1])
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), float(sys.argv[2]))
