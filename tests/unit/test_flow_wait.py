"""The wait of the flow ``run-chain`` between two steps."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eas.orchestration.drive import COALESCE_WAIT, Step
from flows import run_chain


@pytest.mark.parametrize("passes", range(6))
def test_an_interrupt_at_the_moment_of_a_wakeup_is_not_lost(passes: int) -> None:
    # asyncio.wait_for of Python 3.11 drops a cancellation if what it waits for is done at the same moment.
    read, write = os.pipe()
    listener = SimpleNamespace(fileno=lambda: read, clear=lambda: os.read(read, 1))
    driver = cast("Any", SimpleNamespace(listener=listener))

    async def interrupted() -> None:
        waiting = asyncio.create_task(run_chain._wait(driver, Step([], 60.0)))
        await asyncio.sleep(COALESCE_WAIT * 4)
        os.write(write, b"!")
        for _ in range(passes):
            await asyncio.sleep(0)
        if waiting.cancel():  # False: it has returned already
            with pytest.raises(asyncio.CancelledError):
                await waiting

    try:
        asyncio.run(asyncio.wait_for(interrupted(), 30))
    finally:
        os.close(read)
        os.close(write)
