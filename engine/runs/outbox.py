"""Rows of messages to people: those that wait to be folded into a digest, those that were sent, and mutes.

A letter is written in the commit of its effect's result, with a row that falls due when the digest of its place does.
What goes out to somebody has a row of its own, by which their daily limit is counted in the commit of the intent: so
the count is the same however many runs write at once, and after a restart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.domain import Person
from engine.runs.commands import Counted, Letter, Take, Waiting
from engine.runs.rows import RECORD
from engine.runs.state import Run, escaped
from engine.store.codec import dumps, instant, loads, micros
from engine.store.journal import Undrafted, Writing
from engine.store.tables import insert, upsert
from engine.store.tables import mutes as mutes_table
from engine.store.tables import outbox as outbox_table
from engine.store.tables import sent as sent_table

#: `waits` rows of this kind fall due when what waits at the place in `value` is to be told.
DIGEST_DUE = "digest"
_LETTER = insert(
    outbox_table,
    "place",
    "connection",
    "person",
    "channel",
    "run",
    "round",
    "path",
    "action",
    "subject_type",
    "subject",
    "open",
    "text",
    "during",
    "at",
    "due",
    "state",
)
_SENT = upsert(sent_table, "identity", "person", "at")
_COUNT = "SELECT count(*) AS n FROM sent WHERE person = ? AND at >= ? AND identity != ?"
MUTE = insert(mutes_table, "person", "subject_type", "subject", "until", "by", "at")


def place_of(connection: str, person: Person | None, channel: str | None) -> str:
    """Give what one digest is for: a person or a channel at a connection."""
    whom = f"@{escaped(person.id)}" if person is not None else f"#{escaped(channel or '')}"
    return f"{connection}/{whom}"


# --- letters ---------------------------------------------------------------------------------------------------------


def put(tx: Writing, run: Run, path: str, action: str, letter: Letter, now: datetime) -> None:
    """Write a letter, and when its place is told at the latest."""
    person = dumps(letter.person) if letter.person is not None else None
    about = (run.subject_type, run.subject, int(letter.open))
    values = (letter.place, letter.connection, person, letter.channel, run.id, run.round, path, action, *about)
    tx.add(_LETTER, (*values, letter.text, letter.during, micros(now), micros(letter.due), "waiting"))
    tell_by(tx, letter.place, letter.due)


def tell_by(tx: Writing, place: str, due: datetime) -> None:
    """See that what waits at a place is told at an instant, unless that is to be sooner."""
    if tx.drafted:
        raise Undrafted  # another may write to the same place beside this draft
    at = micros(due)
    row = tx.one("SELECT id, due FROM waits WHERE kind = 'digest' AND value = ?", (place,), None)
    if row is None:
        tx.execute("INSERT INTO waits (path, kind, due, value) VALUES ('', 'digest', ?, ?)", (at, place))
    elif row["due"] > at:
        tx.execute("UPDATE waits SET due = ? WHERE id = ?", (at, row["id"]))


def letters(reader: sqlite3.Connection, place: str, run: int) -> list[Waiting]:
    """Give what waits at a place, oldest first, and what a run has taken."""
    rows = reader.execute(
        "SELECT * FROM outbox WHERE place = ? AND state = 'waiting'"
        " UNION ALL SELECT * FROM outbox WHERE digest = ? AND state = 'taken' ORDER BY id",
        (place, run),
    )
    return [waiting_of(row) for row in rows.fetchall()]


def waiting_of(row: sqlite3.Row) -> Waiting:
    """Make the record of a letter's row."""
    letter = Letter(
        row["place"],
        row["connection"],
        loads(row["person"]),
        row["channel"],
        row["text"],
        instant(row["due"]),
        "digest",
        bool(row["open"]),
        row["during"],
    )
    about = (row["subject_type"], row["subject"])
    return Waiting(row["id"], letter, row["run"], row["round"], row["path"], row["action"], *about, instant(row["at"]))


def take(tx: Writing, digest: Run, command: Take, now: datetime) -> bool:
    """Mark what a digest sends and what it drops, each with a line in the history of the run that wrote it.

    Gives False where another digest was quicker: it is to be decided anew.
    """
    if tx.drafted:
        raise Undrafted
    kept = {"run": digest.uid}
    changes: list[tuple[Waiting, str | None]] = [*((one, None) for one in command.taken), *command.dropped]
    for one, why in changes:
        state, kind, data = ("taken", "digested", kept) if why is None else ("dropped", "dropped", {"why": why})
        row = tx.one("SELECT state, digest FROM outbox WHERE id = ?", (one.id,), None)
        if row["state"] == state and row["digest"] == digest.id:
            continue  # its intent was taken back meanwhile
        if row["state"] != "waiting" and row["digest"] != digest.id:
            return False
        tx.execute("UPDATE outbox SET state = ?, digest = ?, reason = ? WHERE id = ?", (state, digest.id, why, one.id))
        tx.add(RECORD, (one.run, one.path, kind, dumps(data), micros(now)))
    if command.left:
        tell_by(tx, command.place, min(due for _, due in command.left))
    return True


# --- the daily limit -------------------------------------------------------------------------------------------------


def sent_to(reader: sqlite3.Connection, person: str, since: datetime, identity: str) -> int:
    """Count the messages that went out to somebody since an instant, but for one."""
    return int(reader.execute(_COUNT, (person, micros(since), identity)).fetchone()["n"])


def count(tx: Writing, identity: str, counted: Sequence[Counted], now: datetime) -> bool:
    """Write down that a message goes out; False where the limit was reached between the decision and this."""
    for one in counted:
        about = ("sent to", one.person)
        if tx.one(_COUNT, (one.person, micros(one.since), identity), about)["n"] >= one.most:
            return False
        tx.touch(about)
        tx.add(_SENT, (identity, one.person, micros(now)))
    return True


def uncount(tx: Writing, identity: str) -> None:
    """Forget that a message was to go out: it did not."""
    tx.execute("DELETE FROM sent WHERE identity = ?", (identity,))


# --- mutes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mute:
    """A subject about which somebody wants no messages for a while."""

    person: str
    subject: str
    until: datetime


def muted(reader: sqlite3.Connection, person: str, subject: str | None, now: datetime) -> Mute | None:
    """Give the mute that lasts longest of somebody's about a subject; None where there is none."""
    if subject is None:
        return None
    row = reader.execute(
        "SELECT max(until) AS until FROM mutes WHERE subject = ? AND person = ? AND until > ? AND ended IS NULL",
        (subject, person, micros(now)),
    ).fetchone()
    return Mute(person, subject, instant(row["until"])) if row["until"] is not None else None
