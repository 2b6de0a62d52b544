"""An event comes in: it is committed, then matched, then it wakes what waits for it.

Accepting commits the events of a delivery, marked new, and answers. Matching takes events marked new in their order,
whoever wrote them (a webhook, a poll, an effect of a run), and commits for each at once: verdicts, runs, settle
times, whom it wakes, and that it is matched. A crash between the two loses nothing: what is marked new is matched at
the next start.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from engine import subjects
from engine.domain import Event
from engine.matching import KEPT, LISTENER, Listeners, Match, by_hand, listener_of, match, sentence, settled
from engine.plugins import OURSELVES, Fact
from engine.runs import slots
from engine.runs.executor import Begun
from engine.runs.hub import Hub
from engine.runs.renaming import Carry, carry
from engine.runs.rows import RECORD, RUN, VERDICT, going_about, save_row, wake, wake_about
from engine.runs.slots import Slot
from engine.runs.state import DRY, Run
from engine.store.codec import dumps, encode, instant, micros
from engine.store.journal import Direct, StorageUnavailable, Undrafted, Writing
from engine.store.lookups import Lookups, Uncommitted, Unsettled, event_of, identity
from engine.workflow.model import Workflow

_SAME = "SELECT id, uid, state, round, dry FROM runs WHERE workflow = ? AND key = ? AND dry = ?"
_SETTLING = "SELECT due FROM waits WHERE kind = 'settle' AND workflow = ? AND trigger = ? AND subject = ?"
#: Events that are matched between two looks at what else there is to do.
CHUNK = 100
#: How long matching is left alone after the database could not be written.
PAUSE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a delivery."""

    events: tuple[int, ...] = ()
    duplicates: int = 0
    ignored: str | None = None


class NotStarted(Exception):
    """A person wanted a workflow to start, and it does not; the text says why. Nothing was written."""


@dataclass(slots=True)
class Intake:
    """Takes events in, one matcher at a time."""

    hub: Hub
    notify: Callable[[Iterable[int]], None]
    look: Callable[[], None]  #: something may fall due earlier than was known
    #: draft the first turn of a run with its event, in the world that the event leaves
    begin: Callable[[Writing, Run, Workflow, Event, Uncommitted], Begun | None]
    adopt: Callable[[Begun], None]  #: take a run whose first turn is committed
    listeners: Listeners = field(default_factory=lambda: Listeners(()))
    #: by event type, who is told of an event that may make something fall due earlier than is known
    stirs: Mapping[str, Callable[[Event], None]] = field(default_factory=dict)
    _new: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _busy: bool = False
    _resume: datetime | None = None  #: until when matching pauses
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: set[str] = field(default_factory=set)  #: hashes of sets of listeners that are in the database

    async def start(self) -> None:
        """Begin to match, with what is marked new from before."""
        types = self.hub.reader.execute("SELECT DISTINCT event_type FROM waits WHERE event_type IS NOT NULL")
        self.hub.awaited |= {row["event_type"] for row in types.fetchall()}
        self._new.set()
        self._task = asyncio.create_task(self._match_all(), name="intake")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def idle(self) -> bool:
        return self._resume is not None or (not self._new.is_set() and not self._busy)

    def next_due(self) -> datetime | None:
        """Give when matching goes on, where it pauses."""
        return self._resume

    def wake(self) -> None:
        """Say that events marked new were committed."""
        self._new.set()

    async def accept(
        self,
        connection: str,
        facts: Sequence[Fact],
        *,
        ignored: str | None = None,
        rows: Mapping[str, Mapping[str, Any] | None] | None = None,
    ) -> Accepted:
        """Commit what a source or a poll says, with rows of the connection's own, and have it matched.

        Raises:
            StorageUnavailable: nothing of it was written.
        """
        said = [(connection, fact) for fact in facts]
        saved = [(connection, key, row) for key, row in (rows or {}).items()]
        return await self.commit(said, saved, ignored=(connection, ignored) if ignored is not None else None)

    async def commit(
        self,
        said: Sequence[tuple[str, Fact]],
        saved: Sequence[tuple[str, str, Mapping[str, Any] | None]] = (),
        *,
        ignored: tuple[str, str] | None = None,
        also: Callable[[Writing], None] | None = None,
    ) -> Accepted:
        """Commit facts, each with its connection, and rows (connection, key, row), all at once; have them matched.

        `also` writes what else belongs to it, in the same transaction.

        Raises:
            StorageUnavailable: nothing of it was written.
        """
        now = self.hub.clock.now()

        def write(tx: Writing) -> tuple[Accepted, list[int], _MatchWrite | None]:
            recorded = [subjects.record(tx, connection, fact, now) for connection, fact in said]
            if ignored is not None and not said:
                subjects.record_ignored(tx, *ignored, now)
            for connection, key, row in saved:
                save_row(tx, connection, key, row)
            if also is not None:
                also(tx)
            written = tuple(number for one in recorded for number in one.events)
            duplicates = sum(one.duplicate for one in recorded)
            woken = wake_about(tx, recorded)
            self.hub.discretion.heed(any(one.private for one in recorded))
            matched = self._match_at_once(tx, recorded[0]) if len(recorded) == 1 and tx.drafted else None
            return Accepted(written, duplicates, ignored[1] if ignored else None), woken, matched

        accepted, woken, matched = await self.hub.journal.commit(write)
        if matched is not None:
            self._after(matched.woken, matched)
        elif accepted.events:
            self.wake()
        if woken:
            self.notify(woken)
        return accepted

    def _match_at_once(self, tx: Writing, recorded: subjects.Recorded) -> _MatchWrite | None:
        """Match an event in the commit that accepts it; None where it has to wait, as for what came before it."""
        event = recorded.event
        if event is None or not self.calm or self._lock.locked():
            return None
        known: dict[tuple[str, str], Mapping[str, Any]] = {}
        if recorded.state is not None:
            known[str(event.subject_type), str(event.subject)] = recorded.state
        number = recorded.events[0]
        world = Uncommitted.of(self.hub.directory, self.hub.clock.now(), known, number)
        write = _MatchWrite(self, number, event, [], world=world, first=recorded.first)
        try:
            write.matches = self._matches(event, world)
        except Unsettled:
            return None
        try:
            write.woken = write(tx)
        except Unsettled:
            raise Undrafted from None
        return write

    @property
    def calm(self) -> bool:
        """Whether it matches and nothing waits for it."""
        return self._task is not None and not (self._busy or self._new.is_set() or self._resume is not None)

    async def loaded(self, workflows: Mapping[str, Workflow]) -> None:
        """Take the workflows that are loaded now; their versions are kept before a run can begin on one.

        What was written under the former name of a renamed one is carried over first, once.
        """
        todo, taken = self.hub.renamed.carries(workflows)
        if todo:
            async with self._lock:  # nothing is matched meanwhile: it would begin under the old name
                await self._take(workflows, todo)
        else:
            await self._take(workflows)
        for one in taken:
            holder = self.hub.renamed.now(one.old)
            sentence = f"{one.new}: 'moved_from: {one.old}' carries nothing over, '{holder}' has it already"
            self.hub.tell("workflow.not_moved", sentence, workflow=one.new)

    async def _take(self, workflows: Mapping[str, Workflow], carries: Sequence[Carry] = ()) -> None:
        time = self.hub.clock.now()
        now = micros(time)

        def write(cursor: sqlite3.Cursor) -> list[int]:
            cursor.executemany(
                "INSERT OR IGNORE INTO workflow_versions (hash, workflow, source, templates, loaded)"
                " VALUES (?, ?, ?, ?, ?)",
                [(w.version, w.id, w.source, json.dumps(dict(w.templates)), now) for w in workflows.values()],
            )
            return [carry(cursor, one, time) for one in carries]

        carried = await self.hub.journal.transact(write)
        self.hub.renamed.read(self.hub.reader)
        self.listeners = Listeners(workflows.values())
        if carries:
            self.hub.pauses.read(self.hub.reader)
        for one, runs in zip(carries, carried, strict=True):
            sentence = f"{one.new} takes over from {one.old}: {runs} runs and their keys are carried over"
            self.hub.tell("workflow.moved", sentence, workflow=one.new, moved_from=one.old, runs=runs)
        if slots.anybody_waits(self.hub.reader):  # a limit may have been raised
            turned = await self.hub.journal.transact(partial(slots.release_all, hub=self.hub, now=self.hub.clock.now()))
            if self._task is not None:
                self.notify(turned)

    # --- by hand -----------------------------------------------------------------------------------------------------

    async def start_by_hand(
        self, fact: Fact, workflow: Workflow, given: Mapping[str, Any], *, again: bool, dry: bool = False
    ) -> tuple[str, Mapping[str, Any]]:
        """Start a workflow that has the trigger `manual`; give the verdict and its detail, once both are committed.

        The request and what it starts are one commit, so that the answer holds without an engine that runs.

        Raises:
            NotStarted: `stop_when` holds already, or a condition cannot be evaluated.
            StorageUnavailable: nothing was written.
        """

        def write(cursor: Direct) -> _MatchWrite:
            now = self.hub.clock.now()
            recorded = subjects.record(cursor, OURSELVES, fact, now)
            event = recorded.event
            assert event is not None
            world = Lookups(cursor.connection, self.hub.directory, now)
            index, use = next((i, use) for i, use in enumerate(workflow.triggers) if use.name == fact.type)
            found = by_hand(workflow, use, index, event, world, given, again=again, dry=dry)
            if found.kind != "start":
                raise NotStarted(sentence(found.kind, found.detail))
            matching = _MatchWrite(self, recorded.events[0], event, [found])
            matching.woken = matching(cursor)
            return matching

        async with self._lock:
            matching = await self.hub.journal.transact(write)
        self._after(matching.woken, matching)
        kind, _, detail = next(one for one in matching.told if one[1] == workflow.id)
        return kind, detail

    async def replay(self, number: int, workflow: str | None, by: str) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
        """Look at a recorded event again, for the loaded workflows; give their verdicts once they are committed.

        No state is changed by it, and nothing is woken that waits. Conditions are looked at on the state as it is now.

        Args:
            number: the event's row.
            workflow: this one alone; None stands for all that listen.
            by: the name of whoever wants it, which the verdicts keep.

        Raises:
            NotStarted: there is nothing that could be looked at.
            StorageUnavailable: nothing was written.
        """

        def write(cursor: Direct) -> _MatchWrite:
            row = cursor.execute("SELECT * FROM events WHERE id = ?", (number,)).fetchone()
            _refuse_unreadable(row)
            event = self._addressed_now(event_of(row))
            world = Lookups(cursor.connection, self.hub.directory, self.hub.clock.now())
            listening = [one for one in self.listeners.of(event.type) if workflow in (None, one[0].id)]
            found = [match(w, use, index, event, world) for w, use, index in listening]
            matching = _MatchWrite(self, number, event, [one for one in found if one is not None], replayed=by)
            matching.woken = matching(cursor)
            return matching

        async with self._lock:
            matching = await self.hub.journal.transact(write)
        self._after(matching.woken, matching)
        return matching.told

    # --- matching ----------------------------------------------------------------------------------------------------

    async def _match_all(self) -> None:
        while True:
            await self._new.wait()
            self._busy = True
            self._new.clear()
            try:
                while await self._match_chunk():
                    pass
            except StorageUnavailable as error:
                self.hub.tell("storage.unavailable", f"the database cannot be written: {error}")
                await self._pause()
            finally:
                self._busy = False

    async def _pause(self) -> None:
        self._resume = self.hub.clock.now() + PAUSE
        try:
            await self.hub.clock.wait_until(self._resume, asyncio.Event())
        finally:
            self._resume = None
        self._new.set()

    async def _match_chunk(self) -> bool:
        rows = self.hub.reader.execute(
            "SELECT * FROM events WHERE state = 'new' ORDER BY id LIMIT ?", (CHUNK,)
        ).fetchall()
        async with self._lock:
            begun = [await self._begin(row) for row in rows]  # what gathers shares a commit
            ended = await asyncio.gather(*(one.written for one in begun), return_exceptions=True)
        for one, woken in zip(begun, ended, strict=True):
            if isinstance(woken, StorageUnavailable):
                raise woken
            if isinstance(woken, BaseException):
                await self._give_up(one.row, woken)
            elif one.write is not None:
                self._after(woken, one.write)
        return bool(rows)

    async def _begin(self, row: sqlite3.Row) -> _Matching:
        """Decide what an event means and hand its write to the journal, in the order of the events."""
        write: _MatchWrite | None = None
        try:
            write = self._match(row)
            written: Awaitable[list[int]] = asyncio.ensure_future(self.hub.journal.transact(write))
        except Exception as error:  # noqa: BLE001  one event's trouble must not keep the others from being matched
            written = asyncio.get_running_loop().create_future()
            written.set_exception(error)
        await asyncio.sleep(0)
        return _Matching(row, write, written)

    async def _give_up(self, row: sqlite3.Row, error: BaseException) -> None:
        """Put an event aside that cannot be matched, with the reason."""
        why = f"it could not be matched: {type(error).__name__}: {error}"
        self.hub.tell("event.failed", f"{row['type']} {row['uid']}: {why}", id=row["uid"], type=row["type"])

        def write(cursor: sqlite3.Cursor) -> None:
            cursor.execute("UPDATE events SET state = 'matched', reason = ? WHERE id = ?", (why, row["id"]))

        await self.hub.journal.transact(write)

    def _match(self, row: sqlite3.Row) -> _MatchWrite:
        event = event_of(row)
        return _MatchWrite(self, int(row["id"]), event, self._matches(event, self.hub.lookups()))

    def _matches(self, event: Event, world: Lookups) -> list[Match]:
        event = self._addressed_now(event)
        found = (match(w, use, index, event, world) for w, use, index in self.listeners.candidates(event, world))
        return [one for one in found if one is not None]

    def _addressed_now(self, event: Event) -> Event:
        """Give an event that a check found for one workflow with the name that this has now."""
        workflow, _, trigger = (listener_of(event) or "").partition("/")
        name = self.hub.renamed.now(workflow)
        return event if name == workflow else replace(event, data={**event.data, LISTENER: f"{name}/{trigger}"})

    def _after(self, woken: list[int], write: _MatchWrite) -> None:
        event, discretion = write.event, self.hub.discretion
        hidden = event.private or discretion.hides([(event.subject_type, event.subject)])
        if write.settled is None and write.replayed is None:
            said = _received(event, hidden)
            self.hub.tell("event.received", said, id=event.id, type=event.type, subject=event.subject)
            self._kept.add(self.listeners.set_of(event.type)[0])
            if event.type in self.stirs:
                self.stirs[event.type](event)
        for begun in write.begun:
            self.adopt(begun)
        for kind, workflow, detail in write.told:
            name = "run.started" if kind in ("start", "taken_up") else f"verdict.{kind}"
            shown = detail if not hidden else {}  # values that a condition met
            self.hub.tell(name, f"{workflow}: {sentence(kind, shown)}", workflow=workflow, event=event.id, **shown)
        if write.asked:
            self.hub.records_written(write.asked)
        if woken:
            self.notify(woken)
        if any(one.kind == "settling" for one in write.matches):
            self.look()

    async def settle(self, waits: Sequence[int]) -> None:
        """Decide settle times that are due: the state held for that long, so conditions are looked at now."""
        for number in waits:
            try:
                await self._settle_one(number)
            except StorageUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  one settle time's trouble must not keep the others waiting
                self.hub.tell("settle.failed", f"a settle time could not be ended: {type(error).__name__}: {error}")
                await self.hub.journal.transact(partial(_forget, wait=number))

    async def _settle_one(self, number: int) -> None:
        async with self._lock:  # what is matched meanwhile may leave the state
            wait = self.hub.reader.execute("SELECT * FROM waits WHERE id = ?", (number,)).fetchone()
            if wait is None:
                return
            row = self.hub.reader.execute("SELECT * FROM events WHERE id = ?", (wait["event"],)).fetchone()
            event = event_of(row)
            matches = self._settled(wait, event, self.hub.lookups())
            write = _MatchWrite(self, int(row["id"]), event, matches, settled=number, replayed=wait["value"])
            woken = await self.hub.journal.transact(write)
        self._after(woken, write)

    def _settled(self, wait: sqlite3.Row, event: Event, world: Lookups) -> list[Match]:
        for workflow, use, index in self.listeners.of(event.type):
            if workflow.id == wait["workflow"] and use.name == wait["trigger"]:
                return [settled(workflow, use, index, event, world)]
        name = wait["workflow"]
        self.hub.tell("verdict.gone", f"{name}: it no longer listens to {event.type}", workflow=name, event=event.id)
        return []


@dataclass(frozen=True, slots=True)
class _Matching:
    """An event whose matching is being written; its outcome is the runs that it wakes."""

    row: sqlite3.Row
    write: _MatchWrite | None
    written: Awaitable[list[int]]


@dataclass(slots=True)
class _MatchWrite:
    """What one event's matching writes, in one transaction."""

    intake: Intake
    number: int
    event: Event
    matches: list[Match]
    settled: int | None = None
    replayed: str | None = None  #: who wants an event looked at again that was matched before
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    world: Uncommitted | None = None  #: where it is part of the draft that accepts the event
    first: bool = False  #: whether the subject was not known before the event
    begun: list[Begun] = field(default_factory=list)
    woken: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)  #: runs that were asked to end

    def __call__(self, tx: Writing) -> list[int]:
        now = self.intake.hub.clock.now()
        self.told.clear()
        self.begun.clear()
        self.asked.clear()
        woken: list[int] = []
        if self.settled is not None and not _forget(tx, self.settled):
            return woken  # the state was left between the look and this
        for one in self.matches:
            woken += self._take(tx, one, now)
        if self.settled is not None or self.replayed is not None:
            return woken
        self._leave_states(tx)
        if not self.first:
            woken += self._wake_about(tx)
        woken += self._wake_waiting(tx)
        hash, versions = self.intake.listeners.set_of(self.event.type)
        if hash not in self.intake._kept:
            tx.execute("INSERT OR IGNORE INTO listeners (hash, versions) VALUES (?, ?)", (hash, json.dumps(versions)))
        tx.amend(subjects.EVENT, self.number, state="matched", listeners=hash)
        return woken

    def _take(self, tx: Writing, one: Match, now: datetime) -> list[int]:
        if one.kind == "settling":
            self._settle(tx, one, now)
            return []
        before = self._crowd(tx, one) if one.slot is not None else ()
        if one.kind == "start" or before:
            return self._start(tx, one, now, before)
        if one.kind in KEPT or one.keep or self.replayed is not None:
            self._verdict(tx, one.workflow.id, one.kind, None, dict(one.detail), now)
        return []

    def _crowd(self, tx: Writing, one: Match) -> Sequence[sqlite3.Row]:
        """Give the runs that a new one may not go on beside; none where there is room for it."""
        assert one.slot is not None
        assert one.workflow.concurrency is not None
        before = slots.ahead(tx, Slot(one.workflow.id, one.slot, self._is_dry(one)))
        return before if len(before) >= one.workflow.concurrency.limit else ()

    def _is_dry(self, one: Match) -> bool:
        return one.dry or self.intake.hub.thinks_only(one.workflow)

    def _start(self, tx: Writing, one: Match, now: datetime, before: Sequence[sqlite3.Row]) -> list[int]:
        workflow, event = one.workflow, self.event
        dry = self._is_dry(one)
        key, about = str(one.key), ("run of", workflow.id, one.key, dry)
        row = tx.one(_SAME, (workflow.id, key, dry), about)
        if row is not None and row["state"] != "stopped":
            self._verdict(tx, workflow.id, "already_ran", row["id"], {"run": row["uid"], "key": key}, now)
            return []
        going = self._going(tx, one, dry) if row is None else None
        if going is not None:
            self._verdict(tx, workflow.id, "folded", going["id"], {"run": going["uid"], "key": key}, now)
            return []
        conflict = workflow.concurrency.on_conflict if workflow.concurrency is not None else None
        if before and conflict == "skip":
            other = before[0]
            detail = {"run": other["uid"], "key": key, "beside": slots.named(before)}
            self._verdict(tx, workflow.id, "skipped", other["id"], detail, now)
            return []
        if row is not None:
            return self._take_up(tx, one, row, now, before)
        uid = subjects.new_id("run", now)
        values = (workflow.id, key, workflow.version, 1, self.number, self.number, one.use.name)
        about_what = (event.subject_type, event.subject)
        state, wakes = ("waiting", 0) if before else ("running", 0 if tx.drafted else 1)
        times = (micros(now), micros(now))
        number = tx.insert(RUN, (uid, *values, *about_what, state, event.depth, wakes, *times, one.slot, int(dry)))
        tx.touch(about, ("runs about", event.subject))
        if self._is_later or one.inputs:
            self._round(tx, number, 1, now, one.inputs)
        self._begins(tx, one, "start", number, {"run": uid, "key": key, **self._how(one, dry)}, now, before)
        if before:
            return self.asked
        if self.world is None:
            return [number]
        named = (*values[:4], self.number, self.number, one.use.name)
        run = Run(number, uid, *named, *about_what, event.depth, now, dry=dry)
        return self._begin(tx, run, workflow)

    def _begins(
        self,
        tx: Writing,
        one: Match,
        kind: str,
        run: int,
        detail: dict[str, Any],
        now: datetime,
        before: Sequence[sqlite3.Row],
    ) -> None:
        """Say that a run begins, or a round of it, or let it wait for its turn."""
        if not before:
            self._verdict(tx, one.workflow.id, kind, run, detail, now)
            return
        assert one.slot is not None
        assert one.workflow.concurrency is not None
        slot = Slot(one.workflow.id, one.slot, self._is_dry(one))
        slots.wait(tx, run, slot, before, one.workflow.concurrency.limit, now, begins=True)
        told: dict[str, Any] = {"behind": slots.named(before)}
        if one.workflow.concurrency.on_conflict == "replace":
            self.asked += slots.replace(tx, before, one.workflow.concurrency, detail["run"], now)
            told["replaces"] = True
        self._verdict(tx, one.workflow.id, "queued", run, {**detail, **told}, now)

    def _begin(self, tx: Writing, run: Run, workflow: Workflow) -> list[int]:
        """Have the first turn drafted too, so that the run's first intent shares the commit of its start."""
        assert self.world is not None
        begun = self.intake.begin(tx, run, workflow, self.event, self.world)
        if begun is None:
            tx.amend(RUN, run.id, wake=1)
            return [run.id]
        self.begun.append(begun)
        return []

    def _take_up(
        self, tx: Writing, one: Match, row: sqlite3.Row, now: datetime, before: Sequence[sqlite3.Row]
    ) -> list[int]:
        """Begin a new round of a run that was stopped (PROMISES 1.2)."""
        round_ = row["round"] + 1
        state, wakes = ("waiting", 0) if before else ("running", 1)
        tx.execute(
            "UPDATE runs SET state = ?, round = ?, round_event = ?, version = ?, trigger = ?, reason = NULL,"
            " error = NULL, ended = NULL, wake = ?, depth = ?, updated = ?, slot = ? WHERE id = ?",
            (
                *(state, round_, self.number, one.workflow.version, one.use.name, wakes),
                *(self.event.depth, micros(now), one.slot, row["id"]),
            ),
        )
        tx.touch(("run of", one.workflow.id, one.key, bool(row["dry"])), ("runs about", self.event.subject))
        self._round(tx, row["id"], round_, now, one.inputs)
        detail = {"run": row["uid"], "key": one.key, "round": round_, **self._how(one, row["dry"])}
        self._begins(tx, one, "taken_up", row["id"], detail, now, before)
        return [int(row["id"])] if not before else self.asked

    def _round(
        self, tx: Writing, run: int, number: int, now: datetime, inputs: Mapping[str, Any] | None = None
    ) -> None:
        """Record that a round begins, and the newest event then, where others came after its own."""
        since = tx.newest("events") if self._is_later else self.number
        data = {"n": number, "event": self.event.id, "since": since, **({"inputs": inputs} if inputs else {})}
        tx.add(RECORD, (run, "", "round", dumps(data), micros(now)))

    @property
    def _is_later(self) -> bool:
        """Whether other events may have come since the one that this is about."""
        return self.settled is not None or self.replayed is not None

    def _how(self, one: Match, dry: bool) -> dict[str, Any]:
        """Give what a verdict says of a start: who decided it by hand, and that it is of a dry run."""
        actor = self.event.actor
        by = {"by": actor.name} if one.inputs is not None and actor is not None else {}
        return {**by, **({"dry_run": True} if dry else {})}

    def _going(self, tx: Writing, one: Match, dry: bool) -> sqlite3.Row | None:
        """Give the run for the same subject into which this occasion is folded, where the trigger folds."""
        if not one.use.trigger.folds:
            return None
        row: sqlite3.Row | None = tx.one(
            "SELECT id, uid FROM runs WHERE workflow = ? AND subject = ? AND ended IS NULL AND dry = ?",
            (one.workflow.id, self.event.subject, dry),
            ("runs about", self.event.subject),
        )
        return row

    def _settle(self, tx: Writing, one: Match, now: datetime) -> None:
        """Begin a settle time; it belongs to (workflow, trigger, subject)."""
        if self._left(tx, one.use.trigger.left_by):
            self._verdict(tx, one.workflow.id, "left", None, {}, now)
            return
        owner = (one.workflow.id, one.use.name, self.event.subject)
        if self.replayed is not None and (known := tx.one(_SETTLING, owner, ("settling", *owner))) is not None:
            until = instant(known["due"])  # of a later event, or of this one
            self._verdict(tx, one.workflow.id, "settling", None, {"until": until.isoformat()}, now)
            return
        tx.execute("DELETE FROM waits WHERE kind = 'settle' AND workflow = ? AND trigger = ? AND subject = ?", owner)
        tx.touch(("settling", *owner))
        assert one.due is not None
        tx.execute(
            "INSERT INTO waits (path, kind, due, workflow, trigger, subject, event, value)"
            " VALUES (?, 'settle', ?, ?, ?, ?, ?, ?)",
            (DRY if self.intake.hub.dry_run else "", micros(one.due), *owner, self.number, self.replayed),
        )
        self._verdict(tx, one.workflow.id, "settling", None, {"until": one.due.isoformat()}, now)

    def _left(self, tx: Writing, left_by: Sequence[str]) -> bool:
        """Whether the subject has left the state already, where the event that names it comes late, or again."""
        marks = ", ".join("?" * len(left_by))
        upto = self.number if self.replayed is None else tx.newest("events") + 1
        time = micros(self.event.time)
        row = tx.one(
            "SELECT 1 FROM events WHERE subject = ? AND id < ? AND (time > ? OR (time = ? AND id > ?))"
            f" AND type IN ({marks}) LIMIT 1",
            (self.event.subject, upto, time, time, self.number, *left_by),
            ("subject", self.event.subject_type, self.event.subject),
            own=True,  # it is the newest
        )
        return row is not None

    def _leave_states(self, tx: Writing) -> None:
        """Drop the settle times of states that this event leaves; one that comes late leaves no later state."""
        for workflow, use, _ in self.intake.listeners.left_by(self.event.type):
            owner = (workflow.id, use.name, self.event.subject)
            left = tx.all(
                "SELECT id FROM waits WHERE kind = 'settle' AND workflow = ? AND trigger = ? AND subject = ?"
                " AND (SELECT time FROM events WHERE events.id = waits.event) <= ?",
                (*owner, micros(self.event.time)),
                ("settling", *owner),
            )
            for row in left:
                tx.execute("DELETE FROM waits WHERE id = ?", (row["id"],))
            if left:
                self.told.append(("left", workflow.id, {"state": use.name, "left_by": self.event.type}))

    def _wake_about(self, tx: Writing) -> list[int]:
        """Wake the runs about this event's subject."""
        if self.event.subject is None:
            return []
        woken = going_about(tx, self.event.subject)
        wake(tx, woken)
        return woken

    def _wake_waiting(self, tx: Writing) -> list[int]:
        """Wake the runs that wait for an event like this one."""
        hub, kind = self.intake.hub, self.event.type
        if kind not in hub.awaited:
            return []
        world = self.world or Lookups(tx.connection, hub.directory, hub.clock.now())  # the hub's is another thread's
        woken: dict[int, None] = {}
        for name in _fields_waited_for(tx, kind):
            value = dumps(identity(read_path(world, self.event, name))) if name else ""
            found = tx.all(
                "SELECT run FROM waits WHERE event_type = ? AND field = ? AND value = ? AND run IS NOT NULL",
                (kind, name, value),
                ("waits", kind),
                own=True,
            )
            woken |= dict.fromkeys(entry["run"] for entry in found)
        wake(tx, woken)
        return list(woken)

    def _verdict(
        self, tx: Writing, workflow: str, kind: str, run: int | None, detail: dict[str, Any], now: datetime
    ) -> None:
        if self.replayed is not None:
            version = next((one.workflow.version for one in self.matches if one.workflow.id == workflow), None)
            detail = {**detail, "replayed": self.replayed, "version": version}
        tx.add(VERDICT, (self.number, workflow, kind, run, dumps(detail), micros(now)))
        self.told.append((kind, workflow, {key: encode(value) for key, value in detail.items()}))


def _refuse_unreadable(row: sqlite3.Row) -> None:
    """Refuse to look again at an event that was not looked at, or of which only the identity is left."""
    name = f"{row['type']} {row['uid']}"
    if row["data"] is None:
        raise NotStarted(f"what {name} said was pruned: there is nothing left to look at")
    if row["state"] == "new":
        raise NotStarted(f"{name} has not been looked at yet: that happens by itself")
    if row["state"] == "ignored":
        raise NotStarted(f"{name} is for no workflow: {row['reason']}")


def _forget(cursor: Any, wait: int) -> bool:
    """Remove a settle time; give whether it was still there."""
    return bool(cursor.execute("DELETE FROM waits WHERE id = ?", (wait,)).rowcount)


def _fields_waited_for(tx: Writing, event_type: str) -> Iterator[str]:
    """Give the fields that waits for a type compare, each by a step in the index: there may be many waits for each."""
    about = ("waits", event_type)
    found = tx.one("SELECT min(field) FROM waits WHERE event_type = ?", (event_type,), about, own=True)
    while (name := found[0]) is not None:
        yield name
        values = (event_type, name)
        found = tx.one("SELECT min(field) FROM waits WHERE event_type = ? AND field > ?", values, about, own=True)


def read_path(world: Lookups, event: Event, path: str) -> Any:
    """Give what a dotted path such as `event.document.id` is in an event."""
    value: Any = event
    for part in path.split(".")[1:]:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif value is None:
            return None
        else:
            derived = world.field(value, part)
            value = derived if derived is not None else getattr(value, part, None)
    return value


def _received(event: Event, hidden: bool) -> str:
    title = (event.after or {}).get("title") if not hidden else None
    about = f" {event.subject}" if event.subject else ""
    return f"{event.type}{about}" + (f" “{title}”" if title else "")
