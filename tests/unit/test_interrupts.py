"""Ctrl-C and SIGTERM of ``eas run``: none is lost, even if a library drops the exception."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eas.cli.interrupts import TerminatedError, recorded_interrupts
from eas.orchestration.drive import Step
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


@pytest.mark.timeout(30)
def test_a_cancellation_that_a_library_drops_ends_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Progress:
        """Drops the cancellation at the first of two steps, as a library may."""

        def __init__(self, *arguments: Any) -> None:
            pass

        async def show(self, *arguments: Any, **options: Any) -> None:
            if not shown.is_set():
                shown.set()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

    monkeypatch.setattr(run_chain, "JobProgress", Progress)
    steps = iter([Step([], 0.0)] * 2)
    graph = SimpleNamespace(nodes={}, in_flight=0, counts={})
    orchestrator = SimpleNamespace(graph=graph, job_id=1, job=SimpleNamespace(name="job"), finished=False)
    driver = SimpleNamespace(orchestrator=orchestrator, step=lambda: next(steps, None))
    closed: list[str] = []
    runs = SimpleNamespace(web_url="", warnings=(), abandon=lambda reason, _: closed.append(reason), close=_nothing)
    shown = asyncio.Event()

    async def cancelled() -> None:
        task = asyncio.create_task(run_chain.drive(cast("Any", driver), cast("Any", runs)))
        await shown.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    asyncio.run(cancelled())
    assert closed == ["this flow run no longer drives the job"]
