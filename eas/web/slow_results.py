"""Cache of slow queries: one thread computes them; each is kept for a time proportional to its cost."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MAX_ENTRIES = 300
"""Maximum number of cached results."""

MAX_CPU_SHARE = 0.02
"""Maximum share of one CPU that recomputing a result may take."""

MIN_AGE = 2.0
"""Minimum time for which a result is kept [s]."""


@dataclass(frozen=True)
class Result(Generic[T]):
    """A result and the time of its computation [Unix s]; None and 0 if it is not computed yet."""

    value: T | None
    at: float = 0.0


@dataclass
class _Entry:
    value: Any = None
    at: float = 0.0
    cost: float = 0.0
    future: Future[None] | None = None

    def is_fresh(self, now: float) -> bool:
        return self.at > 0 and now - self.at < max(MIN_AGE, self.cost / MAX_CPU_SHARE)


class SlowResults:
    """Returns the cached result immediately, and recomputes it in the background if it is stale."""

    def __init__(self, timeout: float = 0.03) -> None:
        self.timeout = timeout
        self._pool = ThreadPoolExecutor(1, "slow-results")
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], T]) -> Result[T]:
        """Return the result of ``compute``, perhaps an older one; wait ``timeout`` [s] where there is none."""
        return self.get_all({key: compute})[key]

    def get_all(self, wanted: dict[Hashable, Callable[[], Any]]) -> dict[Hashable, Result[Any]]:
        """Return several results: as ``get``, but ``timeout`` is for all of them together."""
        entries = {key: self._entry(key, compute) for key, compute in wanted.items()}
        missing = [entry.future for entry in entries.values() if not entry.at and entry.future is not None]
        for future in wait(missing, self.timeout).done if missing else ():
            future.result()  # raises what computing it raised
        return {key: Result(entry.value, entry.at) for key, entry in entries.items()}

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _entry(self, key: Hashable, compute: Callable[[], Any]) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)
            if not entry.is_fresh(time.time()) and (entry.future is None or entry.future.done()):
                entry.future = self._pool.submit(self._compute, entry, compute)
        return entry

    def _compute(self, entry: _Entry, compute: Callable[[], Any]) -> None:
        began = time.perf_counter()
        value = compute()
        entry.cost = time.perf_counter() - began
        entry.value, entry.at = value, time.time()
