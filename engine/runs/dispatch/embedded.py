"""Advance runs in this process: who has something to do, and what falls due when.

A waiting run costs a row: nothing of it is in memory. What is due is read from the database in chunks, oldest first;
between two looks the dispatcher sleeps on the clock until the next due instant.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime

from engine.plugins import ActionError
from engine.runs.executor import PAUSE, Begun, Executor
from engine.runs.outbox import DIGEST_DUE
from engine.runs.rows import wake
from engine.runs.settling import left_open
from engine.runs.state import DRY
from engine.store.codec import instant, micros
from engine.store.journal import StorageUnavailable, Writing
from engine.store.tables import Rows
from engine.workflow.library import UnreadableVersion

#: Deals with rows of `waits` that are due, by their ids.
Handler = Callable[[Sequence[int]], Awaitable[None]]

_OVER = Rows("waits", "DELETE FROM waits WHERE id IN (", ("id",), ")")
#: What an engine looks at whose runs are all dry: what they wait for, and settle times that began with it.
_DRY_WAITS = (
    f" AND (EXISTS (SELECT 1 FROM runs WHERE runs.id = waits.run AND dry = 1) OR (run IS NULL AND path = '{DRY}'))"
)
#: Due rows are taken in chunks of this many.
CHUNK = 200
#: Runs that are advanced at the same time.
MOST_ACTIVE = 256


class EmbeddedDispatcher:
    """The dispatcher of one process on SQLite."""

    def __init__(self, executor: Executor, settle: Handler, digest: Handler) -> None:
        """Take the executor, and the handlers of settle times and of digests that are due (rows of `waits`)."""
        self.executor = executor
        self._handlers: Mapping[str, Handler] = {"settle": settle, DIGEST_DUE: digest}
        self.hub = executor.hub
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()
        self._queue: dict[int, None] = {}
        self._resume: datetime | None = None  # until when what is due is left alone: the database could not be written
        self._look = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._looking = False
        self._ours = _DRY_WAITS if self.hub.dry_run else ""
        self.resting = False  #: whether what is woken waits for the next start

    async def start(self) -> None:
        """Take up every run that has something to do, then wait for what falls due."""
        rows = self.hub.reader.execute(
            "SELECT id FROM runs WHERE ended IS NULL AND (wake > 0 OR state != 'waiting') ORDER BY id"
        )
        self.notify([*(row["id"] for row in rows.fetchall()), *left_open(self.hub.reader)])
        self._loop_task = asyncio.create_task(self._watch_due(), name="due")

    async def stop(self, patience: float = 20.0) -> None:
        """Begin nothing new; calls in flight get `patience` seconds to end, else stay as written-down intents."""
        self.executor.stopping = True
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        for number in list(self._tasks):
            self.executor.poke(number)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks.values(), timeout=patience)
            for task in left:
                task.cancel()
            calls = [call for active in self.executor.active.values() for call in active.in_flight.values()]
            for call in calls:
                call.cancel()
            await asyncio.gather(*left, *calls, return_exceptions=True)

    def notify(self, runs: Iterable[int]) -> None:
        """Say that runs have something to do."""
        for number in self._dry_ones(runs) if self.hub.dry_run else runs:
            if number in self._tasks:
                self._again.add(number)
                self.executor.poke(number)
            else:
                self._queue[number] = None
        self._fill()

    def _dry_ones(self, runs: Iterable[int]) -> list[int]:
        """Leave out the runs that rest while the engine only thinks of what it would do."""
        reader = self.hub.reader
        return [one for one in runs if reader.execute("SELECT 1 FROM runs WHERE id = ? AND dry = 1", (one,)).fetchone()]

    async def bring(self, number: int, seconds: float) -> None:
        """Bring a run as far as it goes now, also where all others rest; return no later than after some seconds."""
        if self.resting:
            self._tasks[number] = asyncio.create_task(self._advance(number), name=f"run {number}")
        else:
            self.notify([number])
        try:
            async with asyncio.timeout(seconds):
                while number in self._tasks or number in self._queue:
                    await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return

    def adopt(self, begun: Begun) -> None:
        """Take a run that began with the commit of its event."""
        number = begun.active.run.id
        self._tasks[number] = asyncio.create_task(self._advance(number, begun), name=f"run {number}")

    def look(self) -> None:
        """Say that something may be due earlier than was known."""
        self._look.set()

    @property
    def idle(self) -> bool:
        """Whether no run is being advanced and nothing that is due waits to be seen; runs that pause do not count."""
        going_on = len(self._tasks) > len(self.executor.paused) or (self._queue and len(self._tasks) < MOST_ACTIVE)
        return not going_on and not self._looking and not self._look.is_set()

    def next_due(self) -> datetime | None:
        """Give the earliest instant at which something falls due, or is tried again."""
        return min([*self.executor.paused.values(), *self._next_wait()], default=None)

    def _next_wait(self) -> list[datetime]:
        if self._resume is not None:
            return [self._resume]
        query = f"SELECT min(due) AS due FROM waits WHERE due IS NOT NULL{self._ours}"
        row = self.hub.reader.execute(query).fetchone()
        return [instant(row["due"])] if row["due"] is not None else []

    def _fill(self) -> None:
        while self._queue and len(self._tasks) < MOST_ACTIVE and not (self.executor.stopping or self.resting):
            number = next(iter(self._queue))
            del self._queue[number]
            task = asyncio.create_task(self._advance(number), name=f"run {number}")
            self._tasks[number] = task

    async def _advance(self, number: int, begun: Begun | None = None) -> None:
        try:
            await self.executor.run(number, begun)
        except (UnreadableVersion, ActionError) as error:
            await self._shelve(number, str(error))
        except Exception as error:  # noqa: BLE001  one run's trouble must not end the others
            sentence = f"run {number}: {type(error).__name__}: {error}"
            self.hub.discretion.tell_of(number, None, "run.crashed", sentence)
            await self._shelve(number, f"{type(error).__name__}: {error}")
        finally:
            del self._tasks[number]
            if number in self._again:
                self._again.discard(number)
                self._queue[number] = None
            self._fill()

    async def _shelve(self, number: int, why: str) -> None:
        """Put a run aside that cannot be advanced, with the reason, until somebody acts or the program changes."""

        def write(cursor: sqlite3.Cursor) -> None:
            cursor.execute("UPDATE runs SET state = 'held', reason = ?, wake = 0 WHERE id = ?", (why, number))

        await self.executor.write(number, write)
        self.hub.discretion.tell_of(number, None, "run.held", f"run {number} is held: {why}")

    async def _watch_due(self) -> None:
        while True:
            self._look.clear()
            self._looking = True
            try:
                while await self._take_due():
                    pass
            except StorageUnavailable as error:
                self.hub.tell("storage.unavailable", f"the database cannot be written: {error}")
                self._resume = self.hub.clock.now() + PAUSE
            finally:
                self._looking = False
            due = min(self._next_wait(), default=None)
            await self.hub.clock.wait_until(due, asyncio.Event() if self._resume is not None else self._look)
            self._resume = None

    async def _take_due(self) -> bool:
        """Wake what is due, one chunk; give whether there was any."""
        now = self.hub.clock.now()
        rows = self.hub.reader.execute(
            f"SELECT id, run, kind FROM waits WHERE due <= ?{self._ours} ORDER BY due, id LIMIT ?", (micros(now), CHUNK)
        ).fetchall()
        others = [(row["id"], row["run"]) for row in rows if row["kind"] not in self._handlers]
        if others:
            woken = dict.fromkeys(run for _, run in others)

            def write(tx: Writing) -> None:
                wake(tx, woken)
                for number, _ in others:
                    tx.add(_OVER, (number,))

            await self.hub.journal.commit(write)
            self.notify(woken)
        for kind, handle in self._handlers.items():
            due = [row["id"] for row in rows if row["kind"] == kind]
            if due:
                await handle(due)
        return bool(rows)
