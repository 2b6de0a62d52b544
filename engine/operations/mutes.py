"""Let people mute what they want to hear no more of for a while, and listen again."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from pydantic import Field

from engine.application import Application
from engine.calendars import add, parse_duration
from engine.domain import Person
from engine.operations.base import BadInput, Done, Inputs, Refused, find_kept, person_of
from engine.operations.runs import pass_on
from engine.runs.manners import name_of, zone_of
from engine.runs.outbox import MUTE, muted
from engine.runs.rows import RECORD, load_state, run_of, wake
from engine.store.codec import dumps, micros
from engine.store.journal import Direct
from engine.store.lookups import subject_of


class MutedSubject(Inputs):
    """A subject, and who is spared messages about it."""

    subject: str = Field(min_length=1, max_length=300, description="A ticket, an incident, a document: its id or key.")
    person: str | None = Field(default=None, max_length=300, description="Whose mute it is, where not the actor's.")


class MuteSubject(MutedSubject):
    """A subject that somebody wants to hear no more of for a while."""

    until: str = Field(
        min_length=1, max_length=100, description="A length of time such as 3d, an instant with its zone, or a date."
    )


async def mute_subject(application: Application, actor: Person, params: MuteSubject) -> Done:
    """Send somebody no messages about a subject until an instant: no reminders, and questions wait."""
    person = _whose(application, actor, params)
    kind, subject, name = _subject(application, params.subject)
    now = application.clock.now()
    zone = zone_of(application.hub, person)
    until = _until(application, params.until, now, zone)
    if until <= now:
        raise BadInput(f"'until' must lie ahead, and {params.until} does not")

    def write(cursor: Direct) -> list[int]:
        _end(cursor, person, subject, actor, now)
        cursor.execute(MUTE.single, (person.id, kind, subject, micros(until), dumps(actor), micros(now)))
        return _release(cursor, subject, now)

    pass_on(application, await application.journal.transact(write))
    told = f"{until.astimezone(zone):%Y-%m-%d %H:%M %Z}"
    by = "" if actor.id == person.id else f", entered by {actor.name}"
    sentence = f"{person.name} has muted {name} until {told}{by}"
    application.hub.discretion.tell_about(kind, subject, "mute.begun", sentence)
    message = f"{person.name} gets no messages about {name} until {told}"
    return Done(message, {"subject": subject, "person": person.id, "until": until})


async def unmute_subject(application: Application, actor: Person, params: MutedSubject) -> Done:
    """End a mute before its time; questions that waited for it are asked."""
    person = _whose(application, actor, params)
    kind, subject, name = _subject(application, params.subject)
    now = application.clock.now()

    def write(cursor: Direct) -> list[int]:
        if muted(cursor.connection, person.id, subject, now) is None:
            raise Refused(f"{person.name} has not muted {name}")
        _end(cursor, person, subject, actor, now)
        return _release(cursor, subject, now)

    pass_on(application, await application.journal.transact(write))
    message = f"{person.name} hears of {name} again"
    application.hub.discretion.tell_about(kind, subject, "mute.ended", message)
    return Done(message, {"subject": subject, "person": person.id})


def _whose(application: Application, actor: Person, params: MutedSubject) -> Person:
    """Give the person who is spared.

    Raises:
        NotFound: nobody in the roster is called that.
        Refused: the actor is nobody whom the roster knows.
    """
    if params.person is not None:
        return person_of(application, params.person)
    if not actor.known:
        raise Refused(f"'{actor.name}' is nobody in the roster: say with 'person' ('--as') whose mute it is")
    return actor


def _subject(application: Application, ref: str) -> tuple[str, str, str]:
    """Give type, id and name of a subject of any type."""
    row = find_kept(application, None, ref)
    record = subject_of(row["type"], json.loads(row["state"]))
    return row["type"], row["id"], name_of(record) or row["id"]


def _until(application: Application, text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Read a length of time, an instant, or a date: the beginning of that day for whoever is spared."""
    try:
        if text[:1].isdigit() and text[4:5] == "-" and len(text) == len("2026-03-09"):
            return datetime.combine(date.fromisoformat(text), time.min, zone).astimezone(UTC)
        if text[4:5] != "-":
            return add(now, parse_duration(text), application.hub.directory.default_calendar)
        until = datetime.fromisoformat(text)
    except ValueError:
        allowed = "a length of time such as 3d or 5bd, an instant such as 2026-03-09T09:00:00+01:00, or a date"
        raise BadInput(f"'until' must be {allowed}, not '{text}'") from None
    if until.tzinfo is None:
        raise BadInput(f"'until' must say its time zone, such as {text}+01:00")
    return until.astimezone(UTC)


def _end(cursor: Direct, person: Person, subject: str, actor: Person, now: datetime) -> None:
    cursor.execute(
        "UPDATE mutes SET ended = ?, ended_by = ? WHERE person = ? AND subject = ? AND ended IS NULL AND until > ?",
        (micros(now), dumps(actor), person.id, subject, micros(now)),
    )


def _release(cursor: Direct, subject: str, now: datetime) -> list[int]:
    """Have the runs about a subject look again at the questions that a mute holds; give those runs."""
    released = []
    for row in cursor.execute("SELECT * FROM runs WHERE subject = ? AND ended IS NULL", (subject,)).fetchall():
        leaves = load_state(cursor.connection, run_of(row)).leaves
        held = [path for path, leaf in leaves.items() if (leaf.error or {}).get("code") == "muted"]
        held = [path for path in held if leaves[path].status == "held"]
        for path in held:
            data = dumps({"due": now, "error": leaves[path].error})
            cursor.execute(RECORD.single, (row["id"], path, "held", data, micros(now)))
        released += [int(row["id"])] if held else []
    wake(cursor, released)
    return released
