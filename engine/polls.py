"""What is looked at by the clock: schedules, stale tickets, quiet incidents, shifts, vendors that send no webhooks.

Each has a row in `schedules` with the instant it is due next. A trigger's due check says which occasions there are;
they become events through intake, whose delivery ids make a second check of the same instant change nothing. A
trigger with a `look` says itself when it is looked at next, and an event may bring that forward: not in its row, since
whatever is looked at so is looked at when the engine starts.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from engine.calendars import Calendar
from engine.capabilities import OnCall, People, Tickets
from engine.domain import Event, Incident
from engine.intake import Intake
from engine.matching import LISTENER
from engine.plugins import OURSELVES, ActionError, ConnectionBroken, Due, Look, RetryLater, Trigger
from engine.runs.hub import Hub
from engine.runs.limits import Limits
from engine.runs.pauses import Pause
from engine.runs.state import DRY
from engine.store.codec import digest, dumps, instant, micros
from engine.store.journal import StorageUnavailable, Writing
from engine.store.lookups import OPEN, scan_subjects
from engine.workflow.model import Workflow

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
    during: str | None = None
    cursor: Any = None

    @property
    def zone(self) -> str:
        return self.hub.directory.zone

    @property
    def tickets(self) -> Tickets:
        tickets: Tickets = self.hub.serve("ticket", self.connection)[1]
        return tickets

    @property
    def on_call(self) -> OnCall:
        on_call: OnCall = self.hub.serve("on_call", None)[1]
        return on_call

    @property
    def people(self) -> People:
        return self.hub.directory.people

    @property
    def calendar(self) -> Calendar:
        return self.hub.directory.calendar_of(self.during)

    def open_incidents(self) -> AsyncIterator[Incident]:
        return scan_subjects(self.hub.reader, "incident", OPEN, {})


@dataclass(slots=True)
class _Poll:
    """One thing to look at: its row's id, the instant it is due, and what to do then."""

    id: str
    due: datetime  #: the occasion; a look that failed does not move it
    look: datetime | None  #: when it is looked at; None: when an event stirs it
    trigger: Trigger | None = None
    params: Any = None
    workflow: Workflow | None = None  #: whose trigger it is; None: it speaks for all
    connection: str | None = None
    stirred: datetime | None = None  #: what events that came since the look began say
    held: datetime | None = None  #: not before then, since there was more than one look may start


@dataclass(slots=True)
class Polls:
    """Looks at what is due."""

    hub: Hub
    intake: Intake
    watching: dict[str, Any] = field(default_factory=dict)  #: connections whose provider can say what changed
    limits: Limits | None = None  #: how often connections are called
    watched: Sequence[Trigger] = ()  #: triggers of which one look speaks for every workflow
    _polls: dict[str, _Poll] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _hearing: dict[str, asyncio.Task[None]] = field(default_factory=dict)  #: whoever wakes us up, by connection
    _looking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)  #: connections to look at once more when the look has ended
    _watched: set[str] = field(default_factory=set)

    async def start(self) -> None:
        """Look at every connection at once, then at what is due when it is due."""
        self._tasks.append(asyncio.create_task(self._run(), name="polls"))
        now = self.hub.clock.now()
        for name, provider in self.watching.items():
            self._polls[f"connection/{name}"] = _Poll(f"connection/{name}", now, now, connection=name)
            self._hear(name, provider)
        self._wake.set()

    def take_over(self, name: str, provider: Any) -> None:
        """Ask a connection's new provider in place of the one before, at once, and let it wake us up."""
        self.watching[name] = provider
        if self._tasks:  # else `start` does the rest
            self._hear(name, provider)
            self.look_now(name)

    def _hear(self, name: str, provider: Any) -> None:
        """Let a connection's provider wake us up, if it does so, and no former one."""
        self._watched.discard(name)
        if name in self._hearing:
            self._hearing.pop(name).cancel()
        if hasattr(provider, "watch"):
            self._watched.add(name)
            self._hearing[name] = asyncio.create_task(self._watch(name, provider), name=f"watch {name}")

    async def stop(self) -> None:
        tasks = [*self._tasks, *self._hearing.values(), *self._looking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def idle(self) -> bool:
        return not self._looking and not self._wake.is_set()

    def next_due(self) -> datetime | None:
        """Give when the next look is; what is being looked at has none, nor what rests."""
        waiting = (poll for poll in self._polls.values() if poll.id not in self._looking)
        return _earliest(*(poll.look for poll in waiting if not self._rests(poll)))

    def _rests(self, poll: _Poll) -> bool:
        """Whether a poll is of a workflow that is paused; what was missed before that is looked at all the same.

        One whose pause has just ended rests until its due instant is moved past that (`loaded`).
        """
        if poll.workflow is None or poll.trigger is None:
            return False
        pause = self._pause_of(poll)
        if poll.trigger.next_due is None:
            return pause is not None
        passed_over = any(one.covers(poll.due) for one in self.hub.pauses.ended_of(poll.workflow.id))
        return passed_over or (pause is not None and pause.covers(poll.due))

    def _pause_of(self, poll: _Poll) -> Pause | None:
        return self.hub.pauses.of(poll.workflow.id) if poll.workflow is not None else None

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
        now, zone = self.hub.clock.now(), self.hub.directory.zone
        for poll in self._of_triggers(workflows, now):
            assert poll.trigger is not None
            inputs, row = digest(repr(poll.params), zone), stored.get(poll.id)
            due: datetime | None = now
            if poll.trigger.next_due is None:
                known = row is not None
            elif row is not None and row["inputs"] == inputs and row["due"] is not None:
                due = self._after_pauses(poll, poll.trigger, instant(row["due"]))
                known = due == instant(row["due"])
            else:  # new, or written otherwise than before: it counts from now
                known, due = False, poll.trigger.next_due(poll.params, now, zone)
            if not known:
                first = row["first"] if row is not None and row["inputs"] == inputs else micros(now)
                rows.append((poll.id, micros(due) if due else None, first, inputs))
            if due is not None:
                poll.due = poll.look = due
                wanted[poll.id] = poll
        gone = [name for name in stored if not name.startswith("connection/") and name not in wanted]
        await self.hub.journal.transact(lambda cursor: self._keep(cursor, rows, gone))
        kept = {name: poll for name, poll in self._polls.items() if poll.connection is not None}
        self._polls = kept | wanted
        stirred: dict[str, list[_Poll]] = {}
        for poll in wanted.values():
            for event in poll.trigger.stirred_by if poll.trigger else ():
                stirred.setdefault(event, []).append(poll)
        self.intake.stirs = {event: partial(self._stir, polls) for event, polls in stirred.items()}
        self._wake.set()

    def _of_triggers(self, workflows: Mapping[str, Workflow], now: datetime) -> Iterator[_Poll]:
        """Give what is to be looked at for triggers; those of a workflow that is off rest."""
        for trigger in self.watched:
            yield _Poll(trigger.name, now, now, trigger)
        for workflow in workflows.values():
            for use in workflow.triggers:
                trigger = use.trigger
                by_clock = trigger.next_due is not None or (trigger.look is not None and trigger.watches is None)
                if by_clock and workflow.mode != "off":
                    yield _Poll(f"{workflow.id}/{use.name}", now, now, trigger, use.params, workflow)

    def _stir(self, polls: Sequence[_Poll], event: Event) -> None:
        """Look by when triggers say that an event may lead to an occasion."""
        for poll in polls:
            assert poll.trigger is not None
            assert poll.trigger.stirs is not None
            during = poll.workflow.during if poll.workflow is not None else None
            at = poll.trigger.stirs(poll.params, event, self.hub.directory.calendar_of(during))
            at = max(at, poll.held) if poll.held is not None else at
            poll.stirred = _earliest(poll.stirred, at)
            if poll.look is None or at < poll.look:
                poll.look = at
                self._wake.set()

    def _after_pauses(self, poll: _Poll, trigger: Trigger, due: datetime) -> datetime | None:
        """Pass over the instants at which a pause that has ended kept the workflow from starting."""
        assert trigger.next_due is not None
        following: datetime | None = due
        ended = self.hub.pauses.ended_of(poll.workflow.id) if poll.workflow is not None else []
        for pause in sorted(ended, key=lambda pause: pause.since):
            while following is not None and pause.covers(following):
                following = trigger.next_due(poll.params, following, self.hub.directory.zone)
        return following

    @staticmethod
    def _keep(cursor: sqlite3.Cursor, rows: Sequence[tuple[Any, ...]], gone: Sequence[str]) -> None:
        cursor.executemany("DELETE FROM schedules WHERE id = ?", [(name,) for name in gone])
        cursor.executemany("INSERT OR REPLACE INTO schedules (id, due, first, inputs) VALUES (?, ?, ?, ?)", rows)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self.hub.clock.now()
            waiting = (poll for poll in self._polls.values() if poll.id not in self._looking and not self._rests(poll))
            ripe = [poll for poll in waiting if poll.look is not None and poll.look <= now]
            for poll in sorted(ripe, key=lambda poll: poll.due):
                self._looking[poll.id] = asyncio.create_task(self._look_at(poll, now), name=f"look at {poll.id}")
            await self.hub.clock.wait_until(self.next_due(), self._wake)

    def _asked(self, poll: _Poll) -> str | None:
        """Give the connection that a poll asks; None where it reads our own rows alone, or the connection is off."""
        if poll.connection is not None or poll.trigger is None:
            return poll.connection
        capability = poll.trigger.asks or (poll.trigger.watches or "").partition(".")[0]
        if not capability:
            return None
        try:
            name, provider = self.hub.serve(capability, getattr(poll.params, "connection", None))
        except ActionError:  # the check itself says so
            return None
        return None if getattr(provider, "own_store", False) else name

    async def _later(self, asked: str | None, poll: _Poll, now: datetime) -> datetime | None:
        """Give when a poll is looked at in place of now: its connection is held, or at its rate."""
        if asked is None:
            return None
        if self.hub.connections.rests(asked):
            return now + AGAIN
        return await self.limits.turn(asked, poll.id) if self.limits else None

    async def _look_at(self, poll: _Poll, now: datetime) -> None:
        asked = None
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                asked = self._asked(poll)
                later = await self._later(asked, poll, now)
                if later is not None:
                    poll.look = later
                elif poll.connection is not None:
                    await self._changes(poll.connection)
                    poll.look = now + (CHANGES_WATCHED if poll.connection in self._watched else CHANGES_EVERY)
                else:
                    await self._occasions(poll, now)
        except StorageUnavailable as error:
            self.hub.tell("storage.unavailable", f"the database cannot be written: {error}")
            poll.look = now + AGAIN
        except ConnectionBroken as error:
            if asked is not None:
                await self.hub.connections.refused(asked, error)
            poll.look = now + AGAIN
        except Exception as error:  # noqa: BLE001  a vendor's trouble must not end the other checks
            self.hub.tell("poll.failed", f"{poll.id}: {type(error).__name__}: {error}", poll=poll.id)
            after = error.after if isinstance(error, RetryLater) and error.after else 0.0
            poll.look = now + max(AGAIN, timedelta(seconds=after))
            if self.limits and isinstance(error, RetryLater) and error.too_often:
                await self.limits.close(asked, after)
        finally:
            if poll.id in self._again:
                self._again.discard(poll.id)
                poll.look = now
            del self._looking[poll.id]
            self._wake.set()

    async def _occasions(self, poll: _Poll, now: datetime) -> None:
        """Write the events of the occasions that a trigger's check finds, as many as it may start."""
        trigger = poll.trigger
        assert trigger is not None
        pause = self._pause_of(poll)
        now = min(now, pause.since) if pause is not None else now
        poll.stirred = None
        look = await self._look_for(poll, trigger, now)
        fresh: list[Due] = []
        for number, one in enumerate(self._fact_of(poll, one) for one in look.found):
            if number % _PORTION == 0:
                await asyncio.sleep(0)
            fresh += [one] if not self._known(poll, one) else []
        limit = trigger.limit(poll.params) if trigger.limit else None
        taken = fresh if limit is None else fresh[:limit]
        following = look.next
        poll.held = now + AGAIN if trigger.look is not None and len(fresh) > len(taken) else None
        following = _earliest(following, poll.held)
        due = micros(following) if following is not None else None

        def reschedule(tx: Writing) -> None:
            tx.execute("UPDATE schedules SET due = ?, cursor = ? WHERE id = ?", (due, dumps(look.cursor), poll.id))

        await self.intake.commit([(OURSELVES, one.fact) for one in taken], also=reschedule)
        poll.due = following or poll.due
        poll.look = _earliest(following, poll.stirred)
        if len(fresh) > len(taken):
            held = len(fresh) - len(taken)
            name = poll.workflow.id if poll.workflow is not None else poll.id
            sentence = f"{name}: {len(taken)} started, {held} held for later checks (runs_per_check)"
            self.hub.tell("poll.limited", sentence, workflow=name, held=held)

    async def _look_for(self, poll: _Poll, trigger: Trigger, now: datetime) -> Look:
        """Give what a trigger finds, and the first instant ahead at which it is looked at again."""
        during = poll.workflow.during if poll.workflow is not None else None
        check = _Check(self.hub, now, poll.due, getattr(poll.params, "connection", None), during)
        if trigger.look is not None:
            return await trigger.look(poll.params, replace(check, cursor=self._cursor(poll.id)))
        assert trigger.check is not None
        assert trigger.next_due is not None
        found = await trigger.check(poll.params, check)
        following: datetime | None = poll.due
        while following is not None and following <= now:
            following = trigger.next_due(poll.params, following, self.hub.directory.zone)
        return Look(found, following)

    def _fact_of(self, poll: _Poll, due: Due) -> Due:
        """Address an occasion to its trigger; one that starts a dry run is there again for a live one."""
        fact = due.fact
        data = fact.data if poll.workflow is None else {**fact.data, LISTENER: poll.id}
        space = DRY if poll.workflow is not None and self.hub.thinks_only(poll.workflow) else ""
        return replace(due, fact=replace(fact, id=f"{space}{poll.id}/{dumps(list(due.key))}", data=data))

    def _cursor(self, name: str) -> Any:
        row = self.hub.reader.execute("SELECT cursor FROM schedules WHERE id = ?", (name,)).fetchone()
        return json.loads(row["cursor"]) if row is not None and row["cursor"] is not None else None

    def _known(self, poll: _Poll, due: Due) -> bool:
        """Whether an occasion was found before, also under a name that its workflow had then."""
        former = self.hub.renamed.former(poll.workflow.id) if poll.workflow is not None else ()
        names = [poll.id, *(poll.id.replace(poll.workflow.id, name, 1) for name in former if poll.workflow is not None)]
        return any(self._is_recorded(_delivery(name, due)) for name in names)

    def _is_recorded(self, delivery: str) -> bool:
        row = self.hub.reader.execute("SELECT 1 FROM events WHERE delivery = ?", (digest(OURSELVES, delivery),))
        return row.fetchone() is not None

    # --- connections that say what changed ---------------------------------------------------------------------------

    async def _changes(self, name: str) -> None:
        """Ask a connection what changed since the cursor that is kept, and keep the new one with the events."""
        cursor = self._cursor(f"connection/{name}")
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


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((one for one in instants if one is not None), default=None)


def _delivery(name: str, due: Due) -> str:
    """Give the delivery id of an occasion that the poll of this name found."""
    return f"{name}/{dumps(list(due.key))}"
