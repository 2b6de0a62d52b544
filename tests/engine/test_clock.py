"""The machine's clock, as tasks wait on it."""

from __future__ import annotations

import asyncio

import pytest

from engine.clock import SystemClock


@pytest.mark.parametrize("turns", range(5))
async def test_a_task_that_is_cancelled_as_its_wait_ends_is_cancelled(turns):
    wake = asyncio.Event()

    async def watch():
        while True:
            wake.clear()
            await SystemClock().wait_until(None, wake)

    task = asyncio.create_task(watch())
    for _ in range(4):
        await asyncio.sleep(0)
    wake.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=1.0)
    assert ended
