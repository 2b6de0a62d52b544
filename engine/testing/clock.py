"""A clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol

from engine.clock import Clock


class SettableClock(Clock, Protocol):
    """A clock that can be put forward and back."""

    def move_to(self, instant: datetime) -> None:
        """Set the time."""


class MovableClock:
    """Time as a test says it is. What waits on it wakes when it is moved to or past the instant it waits for."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("the clock starts at an instant with a time zone")
        self._now = start
        self._moved: set[asyncio.Event] = set()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def move_to(self, instant: datetime) -> None:
        """Set the time, forward or back."""
        self._now = instant
        for moved in self._moved:
            moved.set()

    async def wait_until(self, due: datetime | None, wake: asyncio.Event) -> None:
        """Return when the clock has been moved to `due` or `wake` is set."""
        while not wake.is_set() and (due is None or self._now < due):
            moved = asyncio.Event()
            self._moved.add(moved)
            waits = [asyncio.ensure_future(moved.wait()), asyncio.ensure_future(wake.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._moved.discard(moved)
                for wait in waits:
                    wait.cancel()
