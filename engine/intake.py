"""An event comes in: it is committed, then matched, then it wakes what waits for it.

Accepting commits the events of a delivery, marked new, and answers. Matching takes events marked new in their order,
whoever wrote them (a webhook, a poll, an effect of a run), and commits for each at once: verdicts, runs, settle
times, whom it wakes, and that it is matched. A crash between the two loses nothing: what is marked new is matched at
the next start.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from engine import subjects
from engine.domain import Event
from engine.matching import KEPT, Listeners, Match, match, sentence, settled
from engine.plugins import Fact
from engine.runs.hub import Hub
from engine.runs.rows import save_row, wake, wake_about
from engine.store.codec import dumps, encode, micros
from engine.store.journal import StorageUnavailable
from engine.store.lookups import Lookups, event_of, identity
from engine.workflow.model import Workflow

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


@dataclass(slots=True)
class Intake:
    """Takes events in, one matcher at a time."""

    hub: Hub
    notify: Callable[[Iterable[int]], None]
    look: Callable[[], None]  #: something may fall due earlier than was known
    listeners: Listeners = field(default_factory=lambda: Listeners(()))
    _new: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _busy: bool = False
    _resume: datetime | None = None  #: until when matching pauses
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self) -> None:
        """Begin to match, with what is marked new from before."""
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
        also: Callable[[sqlite3.Cursor], None] | None = None,
    ) -> Accepted:
        """Commit facts, each with its connection, and rows (connection, key, row), all at once; have them matched.

        `also` writes what else belongs to it, in the same transaction.

        Raises:
            StorageUnavailable: nothing of it was written.
        """
        now = self.hub.clock.now()

        def write(cursor: sqlite3.Cursor) -> tuple[Accepted, list[int]]:
            recorded = [subjects.record(cursor, connection, fact, now) for connection, fact in said]
            if ignored is not None and not said:
                subjects.record_ignored(cursor, *ignored, now)
            for connection, key, row in saved:
                save_row(cursor, connection, key, row)
            if also is not None:
                also(cursor)
            written = tuple(number for one in recorded for number in one.events)
            duplicates = sum(one.duplicate for one in recorded)
            return Accepted(written, duplicates, ignored[1] if ignored else None), wake_about(cursor, recorded)

        accepted, woken = await self.hub.journal.transact(write)
        if accepted.events:
            self.wake()
        if woken:
            self.notify(woken)
        return accepted

    async def loaded(self, workflows: Mapping[str, Workflow]) -> None:
        """Take the workflows that are loaded now; their versions are kept before a run can begin on one."""
        now = micros(self.hub.clock.now())

        def write(cursor: sqlite3.Cursor) -> None:
            cursor.executemany(
                "INSERT OR IGNORE INTO workflow_versions (hash, workflow, source, templates, loaded)"
                " VALUES (?, ?, ?, ?, ?)",
                [(w.version, w.id, w.source, json.dumps(dict(w.templates)), now) for w in workflows.values()],
            )

        await self.hub.journal.transact(write)
        self.listeners = Listeners(workflows.values())

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
        event, world = event_of(row), self.hub.lookups()
        self.hub.tell("event.received", _received(event), id=event.id, type=event.type, subject=event.subject)
        found = (match(w, use, index, event, world) for w, use, index in self.listeners.of(event.type))
        return _MatchWrite(self, int(row["id"]), event, [one for one in found if one is not None])

    def _after(self, woken: list[int], write: _MatchWrite) -> None:
        for kind, workflow, detail in write.told:
            name = "run.started" if kind in ("start", "taken_up") else f"verdict.{kind}"
            self.hub.tell(
                name, f"{workflow}: {sentence(kind, detail)}", workflow=workflow, event=write.event.id, **detail
            )
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
            write = _MatchWrite(self, int(row["id"]), event, matches, settled=number)
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
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, cursor: sqlite3.Cursor) -> list[int]:
        now = self.intake.hub.clock.now()
        self.told.clear()
        woken: list[int] = []
        for one in self.matches:
            woken += self._take(cursor, one, now)
        if self.settled is not None:
            _forget(cursor, self.settled)
            return woken
        self._leave_states(cursor)
        woken += self._wake(cursor)
        hash, versions = self.intake.listeners.set_of(self.event.type)
        cursor.execute("INSERT OR IGNORE INTO listeners (hash, versions) VALUES (?, ?)", (hash, json.dumps(versions)))
        cursor.execute("UPDATE events SET state = 'matched', listeners = ? WHERE id = ?", (hash, self.number))
        return woken

    def _take(self, cursor: sqlite3.Cursor, one: Match, now: datetime) -> list[int]:
        if one.kind == "settling":
            self._settle(cursor, one, now)
            return []
        if one.kind == "start":
            return self._start(cursor, one, now)
        if one.kind in KEPT or one.keep:
            self._verdict(cursor, one.workflow.id, one.kind, None, dict(one.detail), now)
        return []

    def _start(self, cursor: sqlite3.Cursor, one: Match, now: datetime) -> list[int]:
        workflow, event = one.workflow, self.event
        key = str(one.key)
        row = cursor.execute(
            "SELECT id, uid, state, round FROM runs WHERE workflow = ? AND key = ?", (workflow.id, key)
        ).fetchone()
        if row is not None and row["state"] != "stopped":
            self._verdict(cursor, workflow.id, "already_ran", row["id"], {"run": row["uid"], "key": key}, now)
            return []
        if row is not None:
            return self._take_up(cursor, one, row, now)
        going = self._going(cursor, one)
        if going is not None:
            self._verdict(cursor, workflow.id, "folded", going["id"], {"run": going["uid"], "key": key}, now)
            return []
        uid = f"run_{secrets.token_hex(8)}"
        cursor.execute(
            "INSERT INTO runs (uid, workflow, key, version, round, round_event, event, trigger, subject_type, subject,"
            " state, depth, wake, created, updated) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, 'running', ?, 1, ?, ?)",
            (
                uid,
                workflow.id,
                key,
                workflow.version,
                self.number,
                self.number,
                one.use.name,
                event.subject_type,
                event.subject,
                event.depth,
                micros(now),
                micros(now),
            ),
        )
        number = int(cursor.lastrowid or 0)
        if self.settled is not None:
            self._round(cursor, number, 1, now)
        self._verdict(cursor, workflow.id, "start", number, {"run": uid, "key": key}, now)
        return [number]

    def _take_up(self, cursor: sqlite3.Cursor, one: Match, row: sqlite3.Row, now: datetime) -> list[int]:
        """Begin a new round of a run that was stopped (PROMISES 1.2)."""
        round_ = row["round"] + 1
        cursor.execute(
            "UPDATE runs SET state = 'running', round = ?, round_event = ?, version = ?, trigger = ?, reason = NULL,"
            " error = NULL, ended = NULL, wake = 1, depth = ?, updated = ? WHERE id = ?",
            (round_, self.number, one.workflow.version, one.use.name, self.event.depth, micros(now), row["id"]),
        )
        self._round(cursor, row["id"], round_, now)
        detail = {"run": row["uid"], "key": one.key, "round": round_}
        self._verdict(cursor, one.workflow.id, "taken_up", row["id"], detail, now)
        return [int(row["id"])]

    def _round(self, cursor: sqlite3.Cursor, run: int, number: int, now: datetime) -> None:
        """Record that a round begins, and the newest event then: in a settle time, others came after its own."""
        since = self.number
        if self.settled is not None:
            since = cursor.execute("SELECT max(id) FROM events").fetchone()[0]
        cursor.execute(
            "INSERT INTO steps (run, path, kind, data, at) VALUES (?, '', 'round', ?, ?)",
            (run, dumps({"n": number, "event": self.event.id, "since": since}), micros(now)),
        )

    def _going(self, cursor: sqlite3.Cursor, one: Match) -> sqlite3.Row | None:
        """Give the run for the same subject into which this occasion is folded, where the trigger folds."""
        if not one.use.trigger.folds:
            return None
        row: sqlite3.Row | None = cursor.execute(
            "SELECT id, uid FROM runs WHERE workflow = ? AND subject = ? AND ended IS NULL",
            (one.workflow.id, self.event.subject),
        ).fetchone()
        return row

    def _settle(self, cursor: sqlite3.Cursor, one: Match, now: datetime) -> None:
        """Begin a settle time; it belongs to (workflow, trigger, subject)."""
        if self._left(cursor, one.use.trigger.left_by):
            self._verdict(cursor, one.workflow.id, "left", None, {}, now)
            return
        owner = (one.workflow.id, one.use.name, self.event.subject)
        cursor.execute(
            "DELETE FROM waits WHERE kind = 'settle' AND workflow = ? AND trigger = ? AND subject = ?", owner
        )
        assert one.due is not None
        cursor.execute(
            "INSERT INTO waits (path, kind, due, workflow, trigger, subject, event)"
            " VALUES ('', 'settle', ?, ?, ?, ?, ?)",
            (micros(one.due), *owner, self.number),
        )
        self._verdict(cursor, one.workflow.id, "settling", None, {"until": one.due.isoformat()}, now)

    def _left(self, cursor: sqlite3.Cursor, left_by: Sequence[str]) -> bool:
        """Whether the subject has left the state already, where the event that names it comes late."""
        marks = ", ".join("?" * len(left_by))
        row = cursor.execute(
            f"SELECT 1 FROM events WHERE subject = ? AND id < ? AND time > ? AND type IN ({marks}) LIMIT 1",
            (self.event.subject, self.number, micros(self.event.time), *left_by),
        ).fetchone()
        return row is not None

    def _leave_states(self, cursor: sqlite3.Cursor) -> None:
        """Drop the settle times of states that this event leaves; one that comes late leaves no later state."""
        for workflow, use, _ in self.intake.listeners.left_by(self.event.type):
            cursor.execute(
                "DELETE FROM waits WHERE kind = 'settle' AND workflow = ? AND trigger = ? AND subject = ?"
                " AND (SELECT time FROM events WHERE events.id = waits.event) <= ?",
                (workflow.id, use.name, self.event.subject, micros(self.event.time)),
            )
            if cursor.rowcount:
                self.told.append(("left", workflow.id, {"state": use.name, "left_by": self.event.type}))

    def _wake(self, cursor: sqlite3.Cursor) -> list[int]:
        """Wake the runs about this event's subject, and those that wait for an event like it."""
        woken: dict[int, None] = {}
        if self.event.subject is not None:
            rows = cursor.execute("SELECT id FROM runs WHERE subject = ? AND ended IS NULL", (self.event.subject,))
            woken |= dict.fromkeys(row["id"] for row in rows.fetchall())
        hub = self.intake.hub
        world = Lookups(cursor.connection, hub.directory, hub.clock.now())  # the hub's reader is of another thread
        for name in _fields_waited_for(cursor, self.event.type):
            value = dumps(identity(read_path(world, self.event, name))) if name else ""
            found = cursor.execute(
                "SELECT run FROM waits WHERE event_type = ? AND field = ? AND value = ? AND run IS NOT NULL",
                (self.event.type, name, value),
            )
            woken |= dict.fromkeys(entry["run"] for entry in found.fetchall())
        wake(cursor, list(woken))
        return list(woken)

    def _verdict(
        self, cursor: sqlite3.Cursor, workflow: str, kind: str, run: int | None, detail: dict[str, Any], now: datetime
    ) -> None:
        cursor.execute(
            "INSERT INTO verdicts (event, workflow, kind, run, detail, at) VALUES (?, ?, ?, ?, ?, ?)",
            (self.number, workflow, kind, run, dumps(detail), micros(now)),
        )
        self.told.append((kind, workflow, {key: encode(value) for key, value in detail.items()}))


def _forget(cursor: sqlite3.Cursor, wait: int) -> None:
    cursor.execute("DELETE FROM waits WHERE id = ?", (wait,))


def _fields_waited_for(cursor: sqlite3.Cursor, event_type: str) -> Iterator[str]:
    """Give the fields that waits for a type compare, each by a step in the index: there may be many waits for each."""
    name = cursor.execute("SELECT min(field) FROM waits WHERE event_type = ?", (event_type,)).fetchone()[0]
    while name is not None:
        yield name
        name = cursor.execute(
            "SELECT min(field) FROM waits WHERE event_type = ? AND field > ?", (event_type, name)
        ).fetchone()[0]


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


def _received(event: Event) -> str:
    title = (event.after or {}).get("title")
    about = f" {event.subject}" if event.subject else ""
    return f"{event.type}{about}" + (f" “{title}”" if title else "")
