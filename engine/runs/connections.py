"""Connections whose service refuses our credentials: left alone, looked at now and then, and let go when they work.

A 401 or a 403 is about the whole connection, not about one effect (PROMISES 1.5). The connection is held by a row, so
that a restart knows of it; what is to go out on it waits without a timer. A look asks the provider's harmless `check`;
where that is answered, one effect goes out first, the one that waits longest, and when it got through all do. The
pauses between looks grow. A start, new credentials and `hotwash doctor` look at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine.plugins import ActionError, ConnectionBroken
from engine.runs.commands import Held
from engine.runs.rows import wake
from engine.store.codec import instant, micros
from engine.store.journal import Direct, StorageUnavailable

if TYPE_CHECKING:
    from engine.runs.hub import Hub

#: How long a connection is left alone at first; each look in vain doubles it.
FIRST = timedelta(minutes=5)
LONGEST = timedelta(hours=1)
#: A look from which nothing followed, such as one that got no answer, is made again after this.
AGAIN = timedelta(minutes=1)
#: How long a look may take, in seconds.
LOOK_TIMEOUT = 30.0
_BEGINS, _ENDS = "connection/", "/held"


@dataclass(slots=True)
class Hold:
    """A connection that refuses our credentials."""

    why: str
    since: datetime
    until: datetime  #: nothing goes out before, unless it is opened; from then on one effect at a time
    look: datetime  #: when it is looked at next
    tries: int = 0  #: looks in vain
    opened: bool = False  #: whether a look before its time let somebody in
    probing: bool = False  #: whether a call is trying if it works again
    probed: int = 0  #: the row of what was let go last to try


class Connections:
    """Holds the connections that refuse us, and looks whether they work again."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.held: dict[str, Hold] = {}
        self._left: dict[str, Hold] = {}  #: let go by a check alone, which says nothing about every permission
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looking = False

    # --- the engine's life -------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Take in what is committed."""
        rows = self.hub.reader.execute(
            "SELECT * FROM schedules WHERE id LIKE ? AND due IS NOT NULL", (f"{_BEGINS}%{_ENDS}",)
        )
        for row in rows.fetchall():
            name, kept, until = row["id"][len(_BEGINS) : -len(_ENDS)], json.loads(row["cursor"]), instant(row["due"])
            self.held[name] = Hold(kept["why"], instant(row["first"]), until, until, kept["tries"])

    def start(self) -> None:
        """Look at each that is held at once, since a restart may follow new credentials, then when it is due."""
        for name in list(self.held):
            self.look_soon(name)
        self._task = asyncio.create_task(self._run(), name="held connections")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def idle(self) -> bool:
        return not self._looking and not self._wake.is_set()

    def next_due(self) -> datetime | None:
        return min((hold.look for hold in self.held.values()), default=None)

    def look_soon(self, name: str) -> None:
        """Have a connection looked at as soon as possible, where it is held."""
        if name in self.held:
            self.held[name].look = self.hub.clock.now()
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            self._looking = True
            try:
                now = self.hub.clock.now()
                for name in [name for name, hold in self.held.items() if hold.look <= now]:
                    await self.look(name)
            finally:
                self._looking = False
            await self.hub.clock.wait_until(self.next_due(), self._wake)

    # --- what holds it -----------------------------------------------------------------------------------------------

    def holding(self, name: str) -> Held | None:
        """Give what keeps an effect from going out on a connection; None where it may, if only to try."""
        hold = self.held.get(name)
        if hold is None or not (hold.probing or (self.hub.clock.now() < hold.until and not hold.opened)):
            return None
        return Held(None, "connection-held", hold.why, name)

    def is_doubted(self, name: str | None) -> bool:
        """Whether a call that gets through says something new about a connection."""
        return name in self.held or name in self._left

    def rests(self, name: str) -> bool:
        """Whether a connection is not even read from."""
        return name in self.held

    async def refused(self, name: str, error: ConnectionBroken) -> Hold:
        """Hold a connection that has just refused our credentials; one that was held already, for longer."""
        now, hold = self.hub.clock.now(), self.held.get(name)
        before = self._left.pop(name, None)
        if hold is None and before is not None and before.why == str(error):
            hold = self.held[name] = before  # the check had been let in, and no more than that
        elif hold is None:
            self._tell(name, error)
            hold = self.held[name] = Hold(str(error), now, now + FIRST, now + FIRST)
        elif hold.why != str(error):
            hold.why = str(error)
            self._tell(name, error)
        if hold.until <= now:
            hold.tries += 1
            hold.until = now + min(FIRST * 2**hold.tries, LONGEST)
        hold.look, hold.opened = hold.until, False
        self._wake.set()
        kept = (f"{_BEGINS}{name}{_ENDS}", micros(hold.until), micros(hold.since))
        about = json.dumps({"why": hold.why, "tries": hold.tries})

        def write(cursor: Direct) -> None:
            cursor.execute(
                "INSERT INTO schedules (id, due, first, cursor) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET due = excluded.due, cursor = excluded.cursor",
                (*kept, about),
            )

        await self._write(write)
        return hold

    def _tell(self, name: str, error: ConnectionBroken) -> None:
        sentence = f"{name} is held, and what is to go out on it waits: {error}; 'hotwash doctor {name}' tries it again"
        self.hub.tell("connection.held", sentence, connection=name)

    async def works(self, name: str, *, surely: bool = True) -> None:
        """Let everything go that waits for a connection. Not `surely`, no effect has gone out on it yet."""
        hold = self.held.pop(name, None)  # before it is written: what is decided meanwhile would wait in vain
        if hold is None:
            if surely:
                self._left.pop(name, None)
            return
        if not surely:
            self._left[name] = hold

        def write(cursor: Direct) -> list[int]:
            cursor.execute("DELETE FROM schedules WHERE id = ?", (f"{_BEGINS}{name}{_ENDS}",))
            rows = cursor.execute("SELECT DISTINCT run FROM waits WHERE kind = 'connection' AND value = ?", (name,))
            woken = [int(row["run"]) for row in rows.fetchall()]
            wake(cursor, woken)
            return woken

        woken = await self._write(write)
        if woken is None:
            self.held[name], hold.look = hold, self.hub.clock.now() + AGAIN
            return
        self.hub.tell("connection.works", f"{name} works again", connection=name)
        self.hub.runs_woken(woken)

    async def _write(self, work: Callable[[Direct], list[int] | None]) -> list[int] | None:
        try:
            return await self.hub.journal.transact(work) or []
        except StorageUnavailable as error:
            self.hub.tell("storage.unavailable", f"the database cannot be written: {error}")
            return None

    # --- looking -----------------------------------------------------------------------------------------------------

    async def look(self, name: str) -> None:
        """Try whether a connection that is held works again."""
        hold = self.held.get(name)
        if hold is None:
            return
        hold.look = self.hub.clock.now() + AGAIN
        check = getattr(self.hub.provider(name), "check", None)
        try:
            if check is not None:
                async with asyncio.timeout(LOOK_TIMEOUT):
                    await check()
        except ConnectionBroken as error:
            await self.refused(name, error)
        except ActionError:  # it was asked something else than it takes, by somebody whom it knows
            await self.let_in(name)
        except Exception as error:  # noqa: BLE001  whatever a vendor's client raises, no answer changes nothing
            self.hub.tell("connection.unseen", f"{name} could not be looked at: {error}", connection=name)
        else:
            await self.let_in(name)

    async def let_in(self, name: str) -> None:
        """Go on with a connection whose service took our credentials: with what waits longest, else with everything."""
        hold = self.held.get(name)
        if hold is None:
            return
        hold.opened = True
        found = self.hub.reader.execute(
            "SELECT w.id, w.run FROM waits w JOIN runs r ON r.id = w.run WHERE w.kind = 'connection' AND w.value = ?"
            " AND r.dry = 0 ORDER BY w.id <= ?, w.id LIMIT 1",
            (name, hold.probed),
        ).fetchone()
        if found is None:
            await self.works(name, surely=False)
            return
        hold.probed, run = int(found["id"]), int(found["run"])

        def write(cursor: Direct) -> list[int]:
            wake(cursor, [run])
            return [run]

        self.hub.runs_woken(await self._write(write) or [])
