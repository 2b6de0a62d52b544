"""Forget what is old: bodies go, identities stay (PROMISES, "Forgetting").

What stays for good: the row of every event with its type, subject, times and delivery id; the row of every run with its
workflow and key; every effect's identity with the hash of its inputs, and the `id`, `key` and `url` of what it made. So
a redelivery still changes nothing, a run does not begin twice, and an effect that lasts is not done again.

What a run that has not ended may still read is not touched: its records and effects; what happened to its subject; and
every event from the one on that started it, because its waits look back over them.

Everything goes through the writer in chunks, so that others are answered in between.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from engine.calendars import Duration, default_calendar, parse_duration, subtract
from engine.clock import Clock
from engine.log import Tell
from engine.store.codec import micros
from engine.store.journal import Journal, StorageUnavailable
from engine.store.tables import TABLES, insert

T = TypeVar("T")

#: How long each kind is kept, unless hotwash.yaml says otherwise.
DEFAULTS: Mapping[str, Duration] = {
    "events": parse_duration("90d"),
    "verdicts": parse_duration("90d"),
    "runs": parse_duration("P1Y"),
    "messages": parse_duration("90d"),
}
#: What each kind is called when it is told what went.
NAMES: Mapping[str, str] = {
    "events": "bodies of events",
    "verdicts": "verdicts",
    "steps": "records of ended runs",
    "effects": "inputs and results of ended runs",
    "messages": "messages and closed questions",
}
#: At most this many rows are looked at in one transaction.
CHUNK = 1000
#: A chunk that keeps other writers waiting for longer than this, in seconds, is followed by smaller ones.
PATIENCE = 0.005
#: Chunks begin at this size, and do not get smaller than the other: what a few rows take is mostly their commit.
BEGIN, LEAST = 100, 20
#: After a chunk the writer is left to others this many times as long as it took, but at most this many seconds.
REST, LONGEST_REST = 2.0, 0.1
#: The first automatic prune comes this long after the start, the next ones a day after the last.
FIRST, EVERY = timedelta(minutes=10), timedelta(days=1)
#: A prune that could not be done is tried again after this.
AGAIN = timedelta(hours=1)

_MADE = (
    "CASE WHEN result IS NOT NULL THEN (SELECT json_group_object(key, value) FROM json_each(result)"
    " WHERE key IN ('id', 'key', 'url') AND type = 'text') END"
)
_ENDED = "EXISTS (SELECT 1 FROM runs WHERE runs.id = {}.run AND runs.ended < :before)"


@dataclass(frozen=True, slots=True)
class Part:
    """What went of one kind: how many rows, and before which instant."""

    kind: str
    rows: int
    before: datetime


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go. `finished` is False where there was no time for all of it."""

    parts: tuple[Part, ...]
    finished: bool = True

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One walk through a table: which of its rows may go, or which columns of them."""

    kind: str
    table: str
    keyed: str  #: the key of `retention`
    fits: str
    emptied: Mapping[str, str] = field(default_factory=dict)  #: columns and what is left in them; without, rows go
    values: Mapping[str, Any] = field(default_factory=dict)
    first: str | None = None  #: what has to go together with the first of the rows


_PASSES = (
    _Pass(
        "events",
        "events",
        "events",
        "received < :before AND data IS NOT NULL AND (id < :floor OR state = 'ignored')"
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.subject = events.subject AND runs.ended IS NULL)"
        # the history of an incident goes as a whole: a document is filled with all of it
        " AND (subject_type IS NOT 'incident' OR :before > (SELECT newest.received FROM events AS newest"
        " WHERE newest.subject = events.subject ORDER BY newest.id DESC LIMIT 1))",
        dict.fromkeys(("actor", "data", "before", "after", "note"), "NULL"),
    ),
    _Pass(
        "verdicts",
        "verdicts",
        "verdicts",
        "at < :before AND (kind != 'settling' OR event < :floor)"
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = verdicts.run AND runs.ended IS NULL)",
    ),
    _Pass(
        "steps",
        "steps",
        "runs",
        _ENDED.format("steps"),
        # without this record a failed run cannot be retried: half of its records would not be enough
        first="DELETE FROM steps WHERE kind = 'failing' AND run IN (SELECT run FROM steps WHERE {})",
    ),
    _Pass(
        "effects",
        "effects",
        "runs",
        "inputs != 'null' AND state IN ('done', 'failed', 'skipped', 'held', 'dry_run')"
        f" AND {_ENDED.format('effects')}",
        {"inputs": "'null'", "error": "NULL", "result": _MADE},
    ),
    _Pass(
        "messages",
        "outbox",
        "messages",
        "at < :before AND state != 'waiting'"
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = outbox.digest AND runs.ended IS NULL)",
    ),
    # the daily limit counts today's, wherever today is
    _Pass("messages", "sent", "messages", "at < min(:before, (SELECT max(at) FROM sent) - 3 * 86400000000)"),
    _Pass("messages", "mutes", "messages", "until < :before"),
)


async def prune(
    journal: Journal,
    now: datetime,
    retention: Mapping[str, Duration],
    *,
    forgets: Mapping[str, Mapping[str, str]] | None = None,
    chunk: int = CHUNK,
    dry_run: bool = False,
    monotonic: Callable[[], float] = lambda: 0.0,
    seconds: float | None = None,
) -> Pruned:
    """Remove what is older than `retention` says, and what it leaves out than `DEFAULTS`; say what went.

    Args:
        journal: what is written through.
        now: the instant that ages count to.
        retention: lengths by kind: `events` (their bodies, by when they came in), `verdicts`, `runs` (the records,
            inputs and results of those that ended) and `messages`.
        forgets: by connection, which of its rows are messages: the beginnings of their keys, each with the field
            that holds the instant, as ISO 8601, since when nobody needs it; a row without it stays.
        chunk: at most so many rows are looked at in one transaction.
        dry_run: change nothing, and say what would go.
        monotonic: seconds that only grow, to see how long a chunk takes.
        seconds: begin no further chunk after this long.

    Raises:
        ValueError: `retention` names a kind that there is not.
        StorageUnavailable: the database cannot be written; what went before stays gone.
    """
    unknown = retention.keys() - DEFAULTS.keys()
    if unknown:
        raise ValueError(f"nothing is kept as '{min(unknown)}'; there are {', '.join(DEFAULTS)}")
    lengths = {**DEFAULTS, **retention}
    utc = default_calendar("UTC")
    before = {kind: subtract(now, length, utc) for kind, length in lengths.items()}
    floor = await journal.transact(_floor)
    walk = _Walk(journal, floor, chunk, dry_run, monotonic, None if seconds is None else monotonic() + seconds)
    rows = dict.fromkeys(NAMES, 0)
    for one in (*_PASSES, *_messages(forgets or {})):
        rows[one.kind] += await walk.go(one, before[one.keyed])
    if not dry_run and any(rows.values()):
        await walk.give_back()
    kinds = {one.kind: one.keyed for one in _PASSES} | {"messages": "messages"}
    return Pruned(tuple(Part(kind, rows[kind], before[kinds[kind]]) for kind in NAMES), not walk.late)


def _floor(cursor: sqlite3.Cursor) -> int:
    """Give the first event that something which goes on may still look at; what begins later looks no further back."""
    row = cursor.execute(
        "SELECT min(id) FROM (SELECT min(min(event, round_event)) AS id FROM runs WHERE ended IS NULL"
        " UNION ALL SELECT min(event) FROM waits WHERE event IS NOT NULL"
        " UNION ALL SELECT min(id) FROM events WHERE state = 'new'"
        " UNION ALL SELECT coalesce(max(id), 0) + 1 FROM events)"
    ).fetchone()
    return int(row[0])


def _messages(forgets: Mapping[str, Mapping[str, str]]) -> Iterator[_Pass]:
    for connection, prefixes in forgets.items():
        for prefix, name in prefixes.items():
            yield _Pass(
                "messages",
                "rows",
                "messages",
                "connection = :connection AND substr(key, 1, length(:prefix)) = :prefix"
                " AND CAST(strftime('%s', json_extract(data, :field)) AS INTEGER) < :before / 1000000",
                values={"connection": connection, "prefix": prefix, "field": f"$.{name}"},
            )


class _Walk:
    """Walks through tables by row, a chunk in a transaction."""

    def __init__(
        self,
        journal: Journal,
        floor: int,
        chunk: int,
        dry_run: bool,
        monotonic: Callable[[], float],
        until: float | None,
    ) -> None:
        self.journal, self.floor, self.chunk, self.dry_run = journal, floor, chunk, dry_run
        self.monotonic, self.until = monotonic, until
        self.size = min(chunk, BEGIN)
        self.late = False  #: there was no time for something

    async def go(self, one: _Pass, before: datetime) -> int:
        """Walk from the first row to what is now the last; give how many went."""
        values = {**one.values, "before": micros(before), "floor": self.floor}
        end = await self.journal.transact(partial(_last, table=one.table))
        after, gone = 0, 0
        while after < end and not self._is_late():
            after, rows = await self._timed(partial(self._chunk, one=one, values={**values, "after": after}))
            gone += rows
        return gone

    def _chunk(self, cursor: sqlite3.Cursor, one: _Pass, values: Mapping[str, Any]) -> tuple[int, int]:
        """Give the last row that was looked at, and how many went."""
        upto = cursor.execute(
            f"SELECT max(row) FROM (SELECT rowid AS row FROM {one.table} WHERE rowid > ? ORDER BY rowid LIMIT ?)",
            (values["after"], self.size),
        ).fetchone()[0]
        if upto is None:
            return _END, 0
        here = f"{one.table}.rowid > :after AND {one.table}.rowid <= :upto AND {one.fits}"
        values = {**values, "upto": upto}
        if self.dry_run:
            return upto, cursor.execute(f"SELECT count(*) FROM {one.table} WHERE {here}", values).fetchone()[0]
        rows = cursor.execute(one.first.format(here), values).rowcount if one.first is not None else 0
        kept = _identities(cursor, one, here, values)
        rows += cursor.execute(f"DELETE FROM {one.table} WHERE {here}", values).rowcount
        if kept:
            cursor.executemany(insert(TABLES[one.table], *_columns(one)).single, kept)
        return upto, rows

    async def give_back(self) -> None:
        """Let the file shrink, once a quarter of it is free; what is free otherwise is written on next."""
        free, pages = await self.journal.transact(_free_pages)
        if free * 4 < pages:
            return
        while free and not self._is_late():
            before, free = free, await self._timed(self._shrink)
            if free >= before:  # a file that was made without the setting cannot shrink
                return

    def _shrink(self, cursor: sqlite3.Cursor) -> int:
        """Give pages back, as many as a chunk has rows; give how many are left."""
        for _ in range(self.size):  # Python's driver steps a statement without columns once, which is one page
            cursor.execute("PRAGMA incremental_vacuum(1)")
        return _free_pages(cursor)[0]

    async def _timed(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        """Do a chunk, leave the writer to others, and choose the next one's size by how long it took."""

        def timed(cursor: sqlite3.Cursor) -> tuple[T, float]:
            began = self.monotonic()
            return work(cursor), began

        found, began = await self.journal.transact(timed)
        took = self.monotonic() - began
        self.size = max(LEAST, self.size // 2) if took > PATIENCE else min(self.chunk, self.size + self.size // 8 + 1)
        await asyncio.sleep(min(took * REST, LONGEST_REST))
        return found

    def _is_late(self) -> bool:
        if self.until is not None and self.monotonic() > self.until:
            self.late = True
        return self.late


_END = 2**63 - 1


def _columns(one: _Pass) -> Sequence[str]:
    return list(TABLES[one.table].columns)


def _identities(cursor: sqlite3.Cursor, one: _Pass, here: str, values: Mapping[str, Any]) -> list[sqlite3.Row]:
    """Give what is left of the rows, to be written anew: pages whose rows only shrink stay as they are, half empty."""
    if not one.emptied:
        return []
    columns = ", ".join(one.emptied.get(name, name) for name in _columns(one))
    return cursor.execute(f"SELECT {columns} FROM {one.table} WHERE {here}", values).fetchall()


def _last(cursor: sqlite3.Cursor, table: str) -> int:
    return int(cursor.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0])


def _free_pages(cursor: sqlite3.Cursor) -> tuple[int, int]:
    free = cursor.execute("PRAGMA freelist_count").fetchone()[0]
    return int(free), int(cursor.execute("PRAGMA page_count").fetchone()[0])


# --- every day -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Forgetting:
    """Prunes once a day while the engine runs."""

    journal: Journal
    clock: Clock
    tell: Tell
    retention: Mapping[str, Duration]
    forgets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _due: datetime | None = None
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to count: what was due while no engine ran is done soon."""
        self._due = self.clock.now() + FIRST
        self._task = asyncio.create_task(self._run(), name="prune")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def idle(self) -> bool:
        return self._task is None or self._due is not None

    def next_due(self) -> datetime | None:
        """Give when the next prune is; None while one goes on."""
        return self._due

    async def now(
        self, older_than: Duration | None = None, *, dry_run: bool = False, seconds: float | None = None
    ) -> Pruned:
        """Prune at once, by the configured lengths or by one for everything.

        Raises:
            StorageUnavailable: the database cannot be written.
        """
        lengths = self.retention if older_than is None else dict.fromkeys(DEFAULTS, older_than)
        return await prune(
            self.journal,
            self.clock.now(),
            lengths,
            forgets=self.forgets,
            dry_run=dry_run,
            monotonic=self.clock.monotonic,
            seconds=seconds,
        )

    async def _run(self) -> None:
        while True:
            await self.clock.wait_until(self._due, asyncio.Event())
            self._due = None
            after = AGAIN
            try:
                self._report(await self.now())
                after = EVERY
            except StorageUnavailable as error:
                self.tell("storage.unavailable", f"the database cannot be written: {error}")
            except Exception as error:  # noqa: BLE001  forgetting must not end because it went wrong once
                self.tell("prune.failed", f"nothing more was pruned: {type(error).__name__}: {error}")
            self._due = self.clock.now() + after

    def _report(self, pruned: Pruned) -> None:
        if pruned.rows:
            self.tell("store.pruned", f"pruned: {told(pruned)}", **{part.kind: part.rows for part in pruned.parts})


def told(pruned: Pruned) -> str:
    """Say what went, of each kind of which anything did."""
    return ", ".join(f"{part.rows:,} {NAMES[part.kind]}" for part in pruned.parts if part.rows) or "nothing"
