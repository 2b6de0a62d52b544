"""Kill the engine beside each commit of a run in turn: what a run does can be cut in two at no other place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.crash.child import Launcher
from tests.crash.driver import Crash

#: One run and what it emits have fewer commits than this, the start of the engine included.
MOST = 31


async def cut_at(folder: Path, launcher: Launcher, kind: str = "chain", **dies: Any) -> Crash:
    """Run one workflow, by default with an effect of each class, in an engine that kills itself beside a commit.

    `before` or `after` says which commit.
    """
    async with Crash(folder / "project", 1, launcher, likely=0.0, answers=False) as crash:
        order = crash.order(kind)
        await crash.start(**dies)
        await crash.deliver(order)
        await crash.until(lambda: not crash.child.there or (order.accepted and crash.settled()), "a kill, or the end")
        if not crash.child.there:
            await crash.restart()
        await crash.settle(leave=0)
    return crash
