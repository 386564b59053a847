"""A way to a server that can be shut: clients are refused then, as with a Service without endpoints."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit


class ClosableProxy:
    """Passes connections on to a server; ``dropped`` connections are closed at once, and counted down."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])
        self.url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{self.port}"))
        self.dropped = 0
        self._accept()

    def refuse_connections(self) -> None:
        """Refuse connections, and end those that are open."""
        with self._lock:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.close_connections()

    def close_connections(self) -> None:
        """End the connections that are open."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections pass again."""
        self._listener = self._listen(self.port)
        self._accept()

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(100)
        return listener

    def _accept(self) -> None:
        listener = self._listener

        def run() -> None:
            while True:
                try:
                    found, _ = listener.accept()
                except OSError:
                    return
                if self.dropped > 0:
                    self.dropped -= 1
                    found.close()
                    continue
                threading.Thread(target=self._pass_on, args=(found,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            with self._lock:
                self._open |= {client, server}
            try:
                other = {client: server, server: client}
                while True:
                    for ready in select.select(list(other), [], [])[0]:
                        content = ready.recv(65536)
                        if not content:
                            return
                        other[ready].sendall(content)
            except OSError:
                return
            finally:
                with self._lock:
                    self._open -= {client, server}


@contextlib.contextmanager
def proxy_to(target: str) -> Iterator[ClosableProxy]:
    """Give a gate before a server; it is shut in the end."""
    made = ClosableProxy(target)
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            made.refuse_connections()
