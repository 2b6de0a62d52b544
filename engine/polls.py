"""What is looked at by the clock: schedules, stale tickets, and vendors that send no webhooks.

Each has a row in `schedules` with the instant it is due next. A trigger's due check says which occasions there are;
they become events through intake, whose delivery ids make a second check of the same instant change nothing.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from engine.calendars import Calendar
from engine.capabilities import People, Tickets
from engine.intake import Intake
from engine.matching import LISTENER
from engine.plugins import OURSELVES, Due
from engine.runs.hub import Hub
from engine.runs.limits import Limits
from engine.runs.state import DRY
from engine.store.codec import digest, dumps, instant, micros
from engine.store.journal import StorageUnavailable, Writing
from engine.workflow.model import TriggerUse, Workflow

#: How often a connection that can say what changed is asked.
CHANGES_EVERY = timedelta(minutes=5)
#: How often, where it wakes us up by itself.
CHANGES_WATCHED = timedelta(hours=1)
#: A check that failed is tried again after this.
AGAIN = timedelta(minutes=1)
#: A check that has not ended by then has failed, in seconds: a vendor that hangs must not keep others waiting.
CHECK_TIMEOUT = 300.0
#: Of what a check has found, so many are looked at between two turns of the others.
_PORTION = 200


@dataclass(frozen=True, slots=True)
class _Check:
    """What a due check may use (`plugins.Check`)."""

    hub: Hub
    now: datetime
    due: datetime
    connection: str | None
    during: str | None

    @property
    def zone(self) -> str:
        return self.hub.directory.zone

    @property
    def tickets(self) -> Tickets:
        tickets: Tickets = self.hub.serve("ticket", self.connection)[1]
        return tickets

    @property
    def people(self) -> People:
        return self.hub.directory.people

    @property
    def calendar(self) -> Calendar:
        return self.hub.directory.calendar_of(self.during)


@dataclass(slots=True)
class _Poll:
    """One thing to look at: its row's id, the instant it is due, and what to do then."""

    id: str
    due: datetime  #: the occasion; a look that failed does not move it
    look: datetime  #: when it is looked at
    workflow: Workflow | None = None
    use: TriggerUse | None = None
    connection: str | None = None


@dataclass(slots=True)
class Polls:
    """Looks at what is due."""

    hub: Hub
    intake: Intake
    watching: Mapping[str, Any] = field(default_factory=dict)  #: connections whose provider can say what changed
    limits: Limits | None = None  #: how often connections are called
    _polls: dict[str, _Poll] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _looking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)  #: connections to look at once more when the look has ended
    _watched: set[str] = field(default_factory=set)

    async def start(self) -> None:
        """Look at every connection at once, then at what is due when it is due."""
        self._tasks.append(asyncio.create_task(self._run(), name="polls"))
        now = self.hub.clock.now()
        for name, provider in self.watching.items():
            self._polls[f"connection/{name}"] = _Poll(f"connection/{name}", now, now, connection=name)
            if hasattr(provider, "watch"):
                self._watched.add(name)
                self._tasks.append(asyncio.create_task(self._watch(name, provider), name=f"watch {name}"))
        self._wake.set()

    async def stop(self) -> None:
        tasks = [*self._tasks, *self._looking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def idle(self) -> bool:
        return not self._looking and not self._wake.is_set()

    def next_due(self) -> datetime | None:
        """Give when the next look is; what is being looked at has none."""
        return min((poll.look for poll in self._polls.values() if poll.id not in self._looking), default=None)

    def look_now(self, connection: str) -> None:
        """Look at a connection as soon as possible."""
        poll = self._polls.get(f"connection/{connection}")
        if poll is None:
            return
        if poll.id in self._looking:
            self._again.add(poll.id)
        poll.look = self.hub.clock.now()
        self._wake.set()

    async def loaded(self, workflows: Mapping[str, Workflow]) -> None:
        """Take the polled triggers of the workflows that are loaded now; those of a workflow that is off rest."""
        wanted: dict[str, _Poll] = {}
        stored = {row["id"]: row for row in self.hub.reader.execute("SELECT * FROM schedules").fetchall()}
        rows: list[tuple[Any, ...]] = []
        now = self.hub.clock.now()
        for workflow in workflows.values():
            for use in workflow.triggers:
                if use.trigger.next_due is None or workflow.mode == "off":
                    continue
                name = f"{workflow.id}/{use.name}"
                inputs = digest(repr(use.params), self.hub.directory.zone)
                row = stored.get(name)
                if row is not None and row["inputs"] == inputs and row["due"] is not None:
                    due: datetime | None = instant(row["due"])
                else:  # new, or written otherwise than before: it counts from now
                    due = use.trigger.next_due(use.params, now, self.hub.directory.zone)
                    rows.append((name, micros(due) if due else None, micros(now), inputs))
                if due is not None:
                    wanted[name] = _Poll(name, due, due, workflow, use)
        gone = [name for name in stored if not name.startswith("connection/") and name not in wanted]
        await self.hub.journal.transact(lambda cursor: self._keep(cursor, rows, gone))
        kept = {name: poll for name, poll in self._polls.items() if poll.connection is not None}
        self._polls = kept | wanted
        self._wake.set()

    @staticmethod
    def _keep(cursor: sqlite3.Cursor, rows: Sequence[tuple[Any, ...]], gone: Sequence[str]) -> None:
        cursor.executemany("DELETE FROM schedules WHERE id = ?", [(name,) for name in gone])
        cursor.executemany("INSERT OR REPLACE INTO schedules (id, due, first, inputs) VALUES (?, ?, ?, ?)", rows)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self.hub.clock.now()
            ripe = [poll for poll in self._polls.values() if poll.look <= now and poll.id not in self._looking]
            for poll in sorted(ripe, key=lambda poll: poll.due):
                self._looking[poll.id] = asyncio.create_task(self._look_at(poll, now), name=f"look at {poll.id}")
            await self.hub.clock.wait_until(self.next_due(), self._wake)

    async def _look_at(self, poll: _Poll, now: datetime) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                if poll.connection is not None:
                    turn = await self.limits.turn(poll.connection, poll.id) if self.limits else None
                    if turn is None:
                        await self._changes(poll.connection)
                        turn = now + (CHANGES_WATCHED if poll.connection in self._watched else CHANGES_EVERY)
                    poll.look = turn
                else:
                    await self._occasions(poll, now)
        except StorageUnavailable as error:
            self.hub.tell("storage.unavailable", f"the database cannot be written: {error}")
            poll.look = now + AGAIN
        except Exception as error:  # noqa: BLE001  a vendor's trouble must not end the other checks
            self.hub.tell("poll.failed", f"{poll.id}: {type(error).__name__}: {error}", poll=poll.id)
            poll.look = now + AGAIN
        finally:
            if poll.id in self._again:
                self._again.discard(poll.id)
                poll.look = now
            del self._looking[poll.id]
            self._wake.set()

    async def _occasions(self, poll: _Poll, now: datetime) -> None:
        """Write the events of the occasions that a trigger's check finds, as many as it may start."""
        workflow, use = poll.workflow, poll.use
        assert workflow is not None
        assert use is not None
        assert use.trigger.check is not None
        assert use.trigger.next_due is not None
        check = _Check(self.hub, now, poll.due, getattr(use.params, "connection", None), workflow.during)
        found = [self._fact_of(poll, one) for one in await use.trigger.check(use.params, check)]
        fresh: list[Due] = []
        for number, one in enumerate(found):
            if number % _PORTION == 0:
                await asyncio.sleep(0)
            fresh += [one] if not self._known(str(one.fact.id)) else []
        limit = use.trigger.limit(use.params) if use.trigger.limit else None
        taken = fresh if limit is None else fresh[:limit]
        following: datetime | None = poll.due
        while following is not None and following <= now:
            following = use.trigger.next_due(use.params, following, self.hub.directory.zone)
        due = micros(following) if following is not None else None

        def reschedule(tx: Writing) -> None:
            tx.execute("UPDATE schedules SET due = ? WHERE id = ?", (due, poll.id))

        await self.intake.commit([(OURSELVES, one.fact) for one in taken], also=reschedule)
        if following is None:
            self._polls.pop(poll.id, None)
        else:
            poll.due = poll.look = following
        if len(fresh) > len(taken):
            held = len(fresh) - len(taken)
            sentence = f"{workflow.id}: {len(taken)} started, {held} held for later checks (runs_per_check)"
            self.hub.tell("poll.limited", sentence, workflow=workflow.id, held=held)

    def _fact_of(self, poll: _Poll, due: Due) -> Due:
        """Address an occasion to its trigger; one that starts a dry run is there again for a live one."""
        fact = due.fact
        space = DRY if poll.workflow is not None and self.hub.thinks_only(poll.workflow) else ""
        id_ = f"{space}{poll.id}/{dumps(list(due.key))}"
        return replace(due, fact=replace(fact, id=id_, data={**fact.data, LISTENER: poll.id}))

    def _known(self, delivery: str) -> bool:
        row = self.hub.reader.execute("SELECT 1 FROM events WHERE delivery = ?", (digest(OURSELVES, delivery),))
        return row.fetchone() is not None

    # --- connections that say what changed ---------------------------------------------------------------------------

    async def _changes(self, name: str) -> None:
        """Ask a connection what changed since the cursor that is kept, and keep the new one with the events."""
        row = self.hub.reader.execute("SELECT cursor FROM schedules WHERE id = ?", (f"connection/{name}",)).fetchone()
        cursor = json.loads(row["cursor"]) if row is not None and row["cursor"] is not None else None
        changes = await self.watching[name].changes(cursor)
        if changes.cursor == cursor and not changes.facts:
            return
        now = micros(self.hub.clock.now())

        def write(tx: Writing) -> None:
            tx.execute(
                "INSERT INTO schedules (id, first, cursor) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET cursor = excluded.cursor",
                (f"connection/{name}", now, json.dumps(changes.cursor)),
            )

        await self.intake.commit([(name, fact) for fact in changes.facts], also=write)

    async def _watch(self, name: str, provider: Any) -> None:
        try:
            async for _ in provider.watch():
                self.look_now(name)
        except Exception as error:  # noqa: BLE001  the regular look goes on without the wake-ups
            self.hub.tell("watch.failed", f"{name}: {type(error).__name__}: {error}", connection=name)
        self._watched.discard(name)
        self.look_now(name)
