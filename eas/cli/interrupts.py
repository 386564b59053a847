"""SIGINT and SIGTERM of ``eas run``: both end it as ``KeyboardInterrupt``, and none is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class TerminatedError(KeyboardInterrupt):
    """SIGTERM was received; it is handled like Ctrl-C."""


class Interrupts:
    """Records whether a signal was received.

    Python drops an exception that a signal handler raises in a destructor or in a callback of a weak reference, which
    the import of modules runs thousands of times; libraries drop it, too. ``run`` checks whether one was received.
    """

    def __init__(self) -> None:
        self.received = False
        self.terminated = False

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine with ``asyncio.run``, unless a signal was received before: then raise KeyboardInterrupt.

        SIGINT then cancels the coroutine, which asyncio does only in place of Python's default handler.
        """
        handler = signal.getsignal(signal.SIGINT)
        if handler == self._interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if self.received:  # asked after the handler is replaced, so that no signal comes between
                raise KeyboardInterrupt
            return asyncio.run(work())
        finally:
            signal.signal(signal.SIGINT, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        signal.default_int_handler(number, frame)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.received = self.terminated = True
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)  # asyncio may have installed its own handler
        else:  # SIGINT is ignored, because a shell has started this process in the background
            signal.default_int_handler(number, frame)


@contextmanager
def recorded_interrupts() -> Iterator[Interrupts]:
    """Handle SIGINT, unless it is ignored, and SIGTERM: each raises an exception in the main thread.

    Raises TerminatedError for SIGTERM, so that context managers exit as after Ctrl-C.
    """
    found = Interrupts()
    previous: dict[signal.Signals, Any] = {signal.SIGTERM: signal.signal(signal.SIGTERM, found._terminate)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        previous[signal.SIGINT] = signal.signal(signal.SIGINT, found._interrupt)
    try:
        yield found
    except KeyboardInterrupt as error:
        if found.terminated:
            raise TerminatedError from error
        raise
    except BaseException as error:
        # Prefect's engine replaces this handler while a flow runs, and raises its own exception.
        if type(error).__name__ == "TerminationSignal":
            raise TerminatedError from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
