"""Ctrl-C and SIGTERM of ``eas run``: none is lost, even if a library drops the exception."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest

from eas.cli.interrupts import TerminatedError, recorded_interrupts
from flows import run_chain


async def _nothing() -> int:
    return 7


async def _interrupted() -> None:
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminatedError)]
)
def test_an_interrupt_that_a_library_drops_still_ends_the_run(
    number: signal.Signals, expected: type[BaseException]
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(expected) as caught, recorded_interrupts() as interrupts:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        interrupts.run(_nothing)
    assert caught.type is expected
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.timeout(30)
def test_an_interrupt_cancels_the_coroutine_that_runs() -> None:
    with pytest.raises(KeyboardInterrupt), recorded_interrupts() as interrupts:
        assert interrupts.run(_nothing) == 7
        interrupts.run(_interrupted)


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with recorded_interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert interrupts.run(_nothing) == 7
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_cancellation_that_a_library_drops_ends_the_flow() -> None:
    async def careless() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        run_chain._raise_if_cancelled()

    async def cancelled() -> None:
        task = asyncio.create_task(careless())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(cancelled(), 30))
