"""A network between processes under test and a service, that is slow, swallows what is sent, or is cut."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing a socket resets the connection."""


class FaultyProxy:
    """A TCP proxy on loopback; what it does to the network lasts until the next call."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._delay = 0.0
        self._dropping = False
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def mend(self) -> None:
        """Let everything through; connections that have lost data are reset."""
        dropped, self._dropping, self._delay, self._cut = self._dropping, False, 0.0, False
        if dropped:
            self._reset()

    def slow(self, delay: float) -> None:
        """Pass on each piece of data ``delay`` [s] late."""
        self._delay = delay

    def drop(self) -> None:
        """Swallow everything in both directions: neither end notices."""
        self._dropping = True

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        self._cut = True
        self._reset()

    def close(self) -> None:
        """End the proxy and all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset()

    def _reset(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for each in pair:
                _end(each)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                _end(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            except OSError:  # the service is being restarted
                _end(near)
                continue
            far.settimeout(None)
            pair = (near, far)
            with self._lock:
                self._pairs.add(pair)
            for one, other in (pair, pair[::-1]):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(one, other, pair), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if self._delay:
                    time.sleep(self._delay)
                if not self._dropping:
                    other.sendall(data)
        with self._lock, contextlib.suppress(OSError):
            if pair in self._pairs and not self._dropping:  # else the end, too, is swallowed
                other.shutdown(socket.SHUT_WR)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.shutdown(socket.SHUT_RD)  # wakes its thread, and sends nothing
    connection.close()
