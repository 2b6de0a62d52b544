"""Incidents and tickets as the commands that read show them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli import output, reading
from engine.cli.exits import CommandError

if TYPE_CHECKING:
    from engine.cli.histories import Times
    from engine.domain import Entry, Incident, Person, Ticket
    from engine.store.lookups import Lookups

LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]


@dataclass(frozen=True, slots=True)
class _Records:
    """The subjects of a project, with what they are looked up in."""

    world: Lookups
    times: Times

    def newest(self, kind: str, limit: int, *, private: bool, **criteria: Any) -> list[Any]:
        """Give those whose plain fields are as given, newest first; a criterion of None counts for all."""
        from engine.store.lookups import PUBLIC, subject_of

        shown = "" if private else f"AND {PUBLIC}"
        rows = self.world.reader.execute(
            f"SELECT state FROM subjects WHERE type = ? {shown} ORDER BY first_seen DESC, rowid DESC", (kind,)
        )
        records = (subject_of(kind, json.loads(row["state"])) for row in rows)
        found = (one for one in records if all(_fits(getattr(one, name), want) for name, want in criteria.items()))
        return [one for one, _ in zip(found, range(limit), strict=False)]

    def one(self, kind: str, ref: str) -> Any:
        found = self.world.subject(kind, ref.strip()) or self.world.subject(kind, ref.strip().upper())
        if found is None:
            raise CommandError(f"no {kind} is called '{ref}'", hint=f"'hotwash {kind} list' says what there is")
        return found

    def who(self, person: Person | None) -> str | None:
        joined = self.world.join(person)
        return joined.name if joined is not None else None

    def when(self, instant: Any) -> str | None:
        return self.times.day(instant.isoformat()) if instant is not None else None


def _fits(value: Any, wanted: Any) -> bool:
    if wanted is None:
        return True
    return wanted in value if isinstance(value, tuple) else bool(value == wanted)


@contextmanager
def _records(start: Path | None) -> Iterator[_Records]:
    with reading.reading(start) as opened:
        yield _Records(reading.world_of(opened), opened.times)


def _as_plain(record: Any, **more: Any) -> dict[str, Any]:
    from engine.reports.values import plain
    from engine.store.codec import encode
    from engine.store.codec import record as fields

    return {**plain(fields(record)), **plain(encode(more))}


def _lines(pairs: Mapping[str, Any]) -> None:
    for name, value in pairs.items():
        if value:
            output.say(f"{name:<11} {value}")


# --- incidents -------------------------------------------------------------------------------------------------------


def list_incidents(start: Path | None, *, only_open: bool, private: bool, limit: int, as_json: bool) -> None:
    """Print incidents, newest first."""
    with _records(start) as records:
        found: list[Incident] = records.newest("incident", 10**9 if only_open else limit, private=private)
        found = [one for one in found if not only_open or records.world.field(one, "open")][:limit]
        if as_json:
            output.as_json([_as_plain(one) for one in found])
            return
        rows = [(one.key, _state(one), one.severity, records.when(one.declared_at), one.title) for one in found]
    output.table(("KEY", "STATE", "SEVERITY", "DECLARED", "TITLE"), rows, empty="there are no such incidents")


def show_incident(start: Path | None, ref: str, *, as_json: bool) -> None:
    """Print an incident with its timeline and its tickets."""
    with _records(start) as records:
        found: Incident = records.one("incident", ref)
        timeline = records.world.field(found, "timeline")
        tickets: list[Ticket] = records.world.field(found, "action_items")
        if as_json:
            output.as_json(_as_plain(found, timeline=timeline, action_items=tickets))
            return
        _incident_text(found, records)
        if timeline:
            output.say("\nwhat happened")
        for entry in timeline:
            output.say(
                f"  {records.when(entry.at)}  {_told(entry)}" + (f", {by}" if (by := records.who(entry.by)) else "")
            )
        if tickets:
            output.say("\ntickets")
        for ticket in tickets:
            output.say(f"  {ticket.key}  {'closed' if ticket.done else 'open'}  {ticket.title}")


def _told(entry: Entry) -> str:
    """Give an entry's text, further lines under the first, with what people marked it as unless it is such a mark."""
    marks = [mark.replace("_", " ") for mark in entry.marks if entry.kind != "reaction"]
    return entry.text.replace("\n", "\n      ") + (f" [{', '.join(marks)}]" if marks else "")


def _state(incident: Incident) -> str:
    return "merged" if incident.merged_into else incident.status


def _incident_text(incident: Incident, records: _Records) -> None:
    output.say(f"{incident.key}  {incident.title}\n")
    kept = records.world.field(incident, "merged_into")
    state = f"merged into {kept.key}" if kept is not None else _state(incident)
    duplicates: list[Incident] = records.world.field(incident, "duplicates")
    subscribers: list[Person] = records.world.field(incident, "subscribers")
    marks = [word for word, holds in (("a drill", incident.drill), ("private", incident.private)) if holds]
    _lines(
        {
            "state": ", ".join([state, *marks]),
            "duplicates": ", ".join(one.key for one in duplicates),
            "severity": incident.severity,
            "services": ", ".join(incident.services),
            "labels": ", ".join(incident.labels),
            "declared": records.when(incident.declared_at),
            "resolved": records.when(incident.resolved_at),
            **{name.replace("_", " ")[:11]: records.who(person) for name, person in incident.roles.items()},
            "subscribers": ", ".join(person.name for person in subscribers),
            "at": incident.url,
            "id": incident.id,
        }
    )


# --- tickets ---------------------------------------------------------------------------------------------------------


def list_tickets(
    start: Path | None,
    *,
    only_open: bool,
    label: str | None,
    assignee: str | None,
    private: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Print tickets, newest first."""
    with _records(start) as records:
        people = records.world.directory.people
        wanted = people.person(assignee) if assignee is not None else None
        if assignee is not None and wanted is None:
            raise CommandError(f"nobody in the roster is called '{assignee}'")
        found: list[Ticket] = records.newest(
            "ticket", 10**9, private=private, done=False if only_open else None, labels=label
        )
        if wanted is not None:
            found = [one for one in found if one.assignee is not None and people.join(one.assignee).id == wanted.id]
        found = found[:limit]
        if as_json:
            output.as_json([_as_plain(one) for one in found])
            return
        rows = [_ticket_row(one, records) for one in found]
    output.table(("KEY", "STATE", "ASSIGNEE", "DUE", "TITLE"), rows, empty="there are no such tickets")


def _ticket_row(ticket: Ticket, records: _Records) -> tuple[Any, ...]:
    state = "closed" if ticket.done else "open"
    return (ticket.key, state, records.who(ticket.assignee), records.when(ticket.due), ticket.title)


def show_ticket(start: Path | None, ref: str, *, as_json: bool) -> None:
    """Print a ticket with its comments."""
    with _records(start) as records:
        found: Ticket = records.one("ticket", ref)
        comments = _comments(records.world, found)
        if as_json:
            output.as_json(_as_plain(found, comments=comments))
            return
        incident = records.world.field(found, "incident")
        output.say(f"{found.key}  {found.title}\n")
        _lines(
            {
                "state": "closed" if found.done else "open",
                "assignee": records.who(found.assignee),
                "due": records.when(found.due),
                "labels": ", ".join(found.labels),
                "incident": f"{incident.key} {incident.title}" if incident is not None else None,
                "filed": records.when(found.created_at),
                "closed": records.when(found.closed_at),
                "at": found.url,
                "id": found.id,
            }
        )
        if found.description:
            output.say(f"\n{found.description}")
        for comment in comments:
            by = records.who(comment["by"]) or "the engine"
            output.say(f"\n{records.when(comment['at'])}, {by}:\n{comment['text']}")


def _comments(world: Lookups, ticket: Ticket) -> list[dict[str, Any]]:
    from engine.store.lookups import event_of

    rows = world.reader.execute("SELECT * FROM events WHERE subject = ? ORDER BY time, id", (ticket.id,)).fetchall()
    events = [event_of(row) for row in rows]
    return [{"at": e.time, "by": e.actor, "text": e.data["comment"]} for e in events if e.data.get("comment")]
