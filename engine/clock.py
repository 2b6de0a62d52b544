"""The only module that asks the system for the time.

Everything else takes an instant as an argument or holds a `Clock`. `engine.testing` has the clock that a test moves.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine may know of time."""

    def now(self) -> datetime:
        """Give the present instant, in UTC, with its zone."""

    def monotonic(self) -> float:
        """Give seconds on a scale that never goes back, for time-outs and rates."""

    async def wait_until(self, due: datetime | None, wake: asyncio.Event) -> None:
        """Return when `due` has come by this clock or `wake` is set, whichever is first; None is never due."""


class SystemClock:
    """The machine's clock."""

    #: A wait is cut into pieces of this many seconds, so that a clock that was set is noticed.
    longest_nap = 30.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def wait_until(self, due: datetime | None, wake: asyncio.Event) -> None:
        while not wake.is_set():
            left = self.longest_nap if due is None else (due - self.now()).total_seconds()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, self.longest_nap)):  # `wait_for` may swallow a cancellation
                    await wake.wait()
