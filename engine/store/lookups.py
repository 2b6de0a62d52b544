"""Read the store as expressions see it: records, their derived fields, and the look-ups of LANGUAGE section 4.

A `Lookups` is a snapshot for one evaluation: it holds the instant, reads what is committed, and never asks a vendor.
Vendor look-ups (`on_call`) are answered from what was recorded, or raise `NeedLookup`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from engine import calendars
from engine.calendars import Calendar, Duration
from engine.capabilities import People
from engine.domain import (
    FIELDS,
    SUBJECTS,
    ActionItem,
    Alert,
    Document,
    Entry,
    Event,
    Incident,
    Meeting,
    Person,
    Review,
    Service,
    StatusEntry,
    Team,
    Ticket,
)
from engine.store.codec import build, dumps, instant, loads, micros
from engine.workflow.expressions import NeedLookup

#: Why an event that is older than the state known, and not the first of its kind, is not matched.
OLDER = "it is older than the state known"
#: A look-up gives at most this many, and one more to show that there are more.
MOST = 1000

SUBJECT_BY_ID = "SELECT * FROM subjects WHERE type = ? AND id = ?"
SUBJECTS_BY_KEY = "SELECT * FROM subjects WHERE type = ? AND key = ?"

#: What of `subjects` may be shown unasked: what is not private, nor of an incident that is.
PUBLIC = """
coalesce(json_extract(subjects.state, '$.private'), 0) = 0
AND NOT EXISTS (
  SELECT 1 FROM subjects AS its
  WHERE its.type = 'incident' AND its.id = subjects.incident AND json_extract(its.state, '$.private') = 1
)
"""
#: The same of the subject of a row that has `subject_type` and `subject`; one that is not kept is no secret.
_ABOUT_PUBLIC = f"""
NOT EXISTS (
  SELECT 1 FROM subjects WHERE subjects.type = subject_type AND subjects.id = subject AND NOT ({PUBLIC})
)
"""

_LISTS = {"label": "labels", "service": "services", "participant": "participants", "attendee": "attendees"}
_MEMBERS = {"member": "members"}
_DATA_LISTS = {"team": "teams", "service": "services"}


def event_of(row: sqlite3.Row) -> Event:
    """Make the record of an event's row."""
    return Event(
        id=row["uid"],
        type=row["type"],
        source=row["source"],
        time=instant(row["time"]),
        subject_type=row["subject_type"],
        subject=row["subject"],
        actor=loads(row["actor"]),
        data=loads(row["data"]) or {},
        before=json.loads(row["before"]) if row["before"] else None,
        after=json.loads(row["after"]) if row["after"] else None,
        caused_by=row["caused_by"],
        own=bool(row["own"]),
        depth=row["depth"],
        private=bool(row["private"]),
    )


def subject_of(subject_type: str, state: Mapping[str, Any]) -> Any:
    """Make the record of a subject's stored state."""
    return build(SUBJECTS[subject_type], state)


def known_subject(reader: sqlite3.Connection, subject_type: str, ref: str) -> Any | None:
    """Give a subject by id or, where only one has it, by key."""
    rows = reader.execute(SUBJECT_BY_ID, (subject_type, ref)).fetchall()
    rows = rows or reader.execute(SUBJECTS_BY_KEY, (subject_type, ref)).fetchall()
    return subject_of(subject_type, json.loads(rows[0]["state"])) if len(rows) == 1 else None


#: SQL for an incident that is open, as `incident.open` is.
OPEN = "(json_extract(state, '$.status') IS NOT 'resolved' AND json_extract(state, '$.merged_into') IS NULL)"

#: The ids of the next portion, and what is wanted among them: each reading is short, and none lasts over a pause.
_PORTION = "SELECT id FROM subjects WHERE type = :type AND id > :after ORDER BY id LIMIT 1000"


async def scan_subjects(
    reader: sqlite3.Connection, subject_type: str, where: str, values: Mapping[str, Any]
) -> AsyncIterator[Any]:
    """Give the subjects of a type that fit, by id, a portion at a time: between them others have their turn.

    Args:
        reader: the database.
        subject_type: `ticket`, `incident`, …
        where: SQL, with the names of `values`; not `type after last`.
        values: what stands for those names.
    """
    wanted = {**values, "type": subject_type, "after": "", "last": ""}
    sql = f"SELECT state FROM subjects WHERE type = :type AND id > :after AND id <= :last AND ({where}) ORDER BY id"
    while True:
        ids = reader.execute(_PORTION, wanted).fetchall()
        if not ids:
            return
        wanted["last"] = ids[-1]["id"]
        for row in reader.execute(sql, wanted).fetchall():
            yield subject_of(subject_type, json.loads(row["state"]))
        wanted["after"] = wanted["last"]
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Directory:
    """What look-ups need beside the database: people, calendars, variables."""

    people: People
    calendars: Mapping[str, Calendar]
    default_calendar: Calendar
    zone: str
    vars: Mapping[str, Any] = field(default_factory=dict)

    def calendar_of(self, during: str | None) -> Calendar:
        """Give the calendar that a workflow's `during` names; the default one where it names none that there is."""
        return self.calendars.get(during or "", self.default_calendar)


@dataclass(slots=True)
class Lookups:
    """The world as one evaluation sees it: `engine.workflow.expressions.World`."""

    reader: sqlite3.Connection
    directory: Directory
    now: datetime
    answers: Mapping[str, Any] = field(default_factory=dict)
    during: str | None = field(default=None, kw_only=True)  #: of the workflow that is evaluated

    def counting_in(self, during: str | None) -> Self:
        """Give the same world with the working days of a workflow that has this `during`."""
        return self if during == self.during else replace(self, during=during)

    @property
    def working(self) -> Calendar:
        """The calendar that `5bd` counts in."""
        return self.directory.calendar_of(self.during) if self.during else self.directory.default_calendar

    # --- records -----------------------------------------------------------------------------------------------------

    def subject(self, subject_type: str, ref: str) -> Any | None:
        """Give a subject by id or, where only one has it, by key."""
        return known_subject(self.reader, subject_type, ref)

    def field(self, value: Any, name: str) -> Any:
        """Give a derived field of a record (`domain.FIELDS`), None where it is unknown."""
        derive = _DERIVED.get((type(value), name))
        if derive is not None:
            return derive(self, value)
        if isinstance(value, Event) and name in SUBJECTS:
            return self._event_subject(value, name)
        return None

    def _event_subject(self, event: Event, name: str) -> Any:
        if event.subject_type != name or event.after is None:
            return None
        return subject_of(name, event.after)

    def join(self, person: Person | None) -> Person | None:
        return None if person is None else self.directory.people.join(person)

    def person_by_id(self, key: str | None) -> Person | None:
        return self.directory.people.person(key) if key else None

    def is_private(self, subject_type: str | None, ref: str | None) -> bool:
        """Whether a subject is private as it is now, or of an incident that is."""
        query = f"SELECT 1 FROM subjects WHERE type = ? AND id = ? AND NOT ({PUBLIC})"
        return self.reader.execute(query, (subject_type, ref)).fetchone() is not None

    # --- look-ups ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> Sequence[Any]:
        """Give the records that fit, newest first, at most `MOST` and one more."""
        if kind in SUBJECTS:
            return self._subjects(kind, criteria, last, private, MOST + 1)
        directory: dict[str, Callable[[], Sequence[Any]]] = {
            "person": self.directory.people.people,
            "team": self.directory.people.teams,
            "service": self.directory.people.services,
        }
        return [record for record in directory[kind]() if self._fits(record, criteria)][: MOST + 1]

    def count(self, kind: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> int:
        """Count the records that fit; stored texts, booleans and lists of texts are compared in the database."""
        if kind not in SUBJECTS:
            return len(self.find(kind, criteria, last, private))
        where, arguments, rest = self._where(kind, criteria, last, private)
        if rest:
            return sum(1 for _ in self._matching(kind, criteria, last, private))
        return int(self.reader.execute(f"SELECT count(*) FROM subjects WHERE {where}", arguments).fetchone()[0])

    def _subjects(
        self, kind: str, criteria: Mapping[str, Any], last: Duration | None, private: bool, most: int
    ) -> list[Any]:
        found = []
        for record in self._matching(kind, criteria, last, private):
            found.append(record)
            if len(found) >= most:
                break
        return found

    def _matching(self, kind: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> Iterator[Any]:
        where, arguments, rest = self._where(kind, criteria, last, private)
        order = "ORDER BY first_seen DESC, id DESC"
        for row in self.reader.execute(f"SELECT state FROM subjects WHERE {where} {order}", arguments):
            record = subject_of(kind, json.loads(row["state"]))
            if self._fits(record, rest):
                yield record

    def _where(
        self, kind: str, criteria: Mapping[str, Any], last: Duration | None, private: bool
    ) -> tuple[str, list[Any], dict[str, Any]]:
        """Split criteria into SQL for what is stored plainly and what is left to compare in Python."""
        parts: list[str] = ["type = ?"]
        arguments: list[Any] = [kind]
        rest: dict[str, Any] = {}
        if last is not None:
            part, bounds = self._younger(kind, last)
            parts.append(part)
            arguments += bounds
        if not private:
            parts.append(PUBLIC)
        for name, wanted in criteria.items():
            found = _compared(kind, name, wanted)
            if found is None:
                rest[name] = wanted
            else:
                parts.append(found)
                arguments.append(int(wanted) if isinstance(wanted, bool) else wanted)
        return " AND ".join(parts), arguments, rest

    def _younger(self, kind: str, last: Duration) -> tuple[str, list[Any]]:
        """Bound the age: from when it began by its own account where that is known, else since it was first seen."""
        since = calendars.subtract(self.now, last, self.working)
        began = _BEGAN.get(kind)
        if began is None:
            return "first_seen >= ?", [micros(since)]
        own = f"""json_extract(state, '$.{began}."~instant"')"""
        return f"CASE WHEN {own} IS NULL THEN first_seen >= ? ELSE {own} >= ? END", [micros(since), _iso(since)]

    def _fits(self, record: Any, criteria: Mapping[str, Any]) -> bool:
        return all(_meets(self.read(record, name), wanted) for name, wanted in criteria.items())

    def read(self, record: Any, name: str) -> Any:
        """Give any field of a record by the name of a look-up's keyword: lists in the singular too."""
        kind = _kind(record)
        known = FIELDS.get(kind, {})
        if name not in known and _LISTS.get(name, _MEMBERS.get(name)) in known:
            name = _LISTS.get(name) or _MEMBERS[name]
        if name in known and known[name].derived:
            return self.field(record, name)
        return getattr(record, name, None)

    def events(self, type: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> Sequence[Event]:
        """Give events of a type, newest first: `subject=`, then fields of `data`, then those of the subject."""
        found = []
        for event in self._events(type, criteria, last, private):
            found.append(event)
            if len(found) > MOST:
                break
        return found

    def count_events(self, type: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> int:
        where, arguments, rest = self._where_events(type, criteria, last, private)
        if rest:
            return sum(1 for _ in self._events(type, criteria, last, private))
        return int(self.reader.execute(f"SELECT count(*) FROM events WHERE {where}", arguments).fetchone()[0])

    def _events(self, type: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> Iterator[Event]:
        where, arguments, rest = self._where_events(type, criteria, last, private)
        for row in self.reader.execute(f"SELECT * FROM events WHERE {where} ORDER BY id DESC", arguments):
            event = event_of(row)
            if all(_meets(self._event_field(event, name), wanted) for name, wanted in rest.items()):
                yield event

    def _where_events(
        self, type: str, criteria: Mapping[str, Any], last: Duration | None, private: bool
    ) -> tuple[str, list[Any], dict[str, Any]]:
        parts = ["type = ?", "state != 'ignored'"]
        arguments: list[Any] = [type]
        rest = dict(criteria)
        if isinstance(subject := identity(rest.get("subject")), str):
            parts.append("subject = ?")
            arguments.append(subject)
            del rest["subject"]
        if last is not None:
            parts.append("time >= ?")
            arguments.append(micros(calendars.subtract(self.now, last, self.working)))
        if not private:
            parts += ["private = 0", _ABOUT_PUBLIC]
        return " AND ".join(parts), arguments, rest

    def _event_field(self, event: Event, name: str) -> Any:
        if name == "subject":
            return event.subject
        if name in event.data:
            return event.data[name]
        if event.subject_type is None or event.after is None:
            return event.data.get(_DATA_LISTS.get(name, name))
        return self.read(subject_of(event.subject_type, event.after), name)

    # --- the directory -----------------------------------------------------------------------------------------------

    def person(self, key: str) -> Person | None:
        return self.directory.people.person(key)

    def team(self, key: str) -> Team | None:
        return self.directory.people.team(key)

    def service(self, key: str) -> Service | None:
        return self.directory.people.service(key)

    def calendar(self, name: str) -> Calendar | None:
        return self.directory.calendars.get(name)

    def vendor(self, name: str, args: tuple[Any, ...]) -> Any:
        """Give the recorded answer of a vendor look-up.

        Raises:
            NeedLookup: there is none yet.
        """
        call = lookup_key(name, args)
        if call not in self.answers:
            raise NeedLookup(name, args)
        return self.answers[call]

    def add(self, at: datetime, length: Duration) -> datetime:
        """Add a duration in the calendar that counts here."""
        return calendars.add(at, length, self.working)


class Unsettled(BaseException):
    """An answer depends on what is not committed yet. No handler of errors may take it for one."""


class _Closed:
    """The database, where it must not be asked."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        raise Unsettled


@dataclass(slots=True)
class Uncommitted(Lookups):
    """The world while an event is drafted: its subject is known, and all else has to wait for the commit.

    Raises `Unsettled` from whatever would have to ask the database.
    """

    known: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)  #: states as JSON
    newest: int = 0  #: the newest event
    _made: dict[tuple[str, str], Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, directory: Directory, now: datetime, known: Mapping[tuple[str, str], Mapping[str, Any]], newest: int
    ) -> Uncommitted:
        return cls(_CLOSED, directory, now, {}, known, newest)

    def subject(self, subject_type: str, ref: str) -> Any | None:
        made = self._made.get((subject_type, ref))
        if made is None:
            state = self.known.get((subject_type, ref))
            if state is None:
                raise Unsettled
            made = self._made[subject_type, ref] = subject_of(subject_type, state)
        return made


_CLOSED: Any = _Closed()


def lookup_key(name: str, args: tuple[Any, ...]) -> str:
    """Give the text under which the answer of a vendor look-up is recorded."""
    return f"{name}{dumps(list(args))}"


def _kind(record: Any) -> str:
    return {Person: "person", Team: "team", Service: "service"}.get(type(record)) or type(record).__name__.lower()


#: What a record's age counts from.
_BEGAN = {"incident": "declared_at", "ticket": "created_at", "alert": "started_at"}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _compared(kind: str, name: str, wanted: Any) -> str | None:
    """Give the SQL that compares a stored field with a plain value; None where Python has to."""
    known = FIELDS[kind]
    name = name if name in known else _LISTS.get(name, name)
    if (kind, name) == ("incident", "open") and isinstance(wanted, bool):
        return f"{OPEN} = ?"
    column = known.get(name)
    if column is None or column.derived:
        return None
    if column.kind == "list[text]" and isinstance(wanted, str):
        return f"EXISTS (SELECT 1 FROM json_each(state, '$.{name}') WHERE value = ?)"
    if column.kind == "boolean" and isinstance(wanted, bool):
        return f"coalesce(json_extract(state, '$.{name}'), {int(name == 'firing')}) = ?"
    if column.kind == "text" and isinstance(wanted, str):
        return f"json_extract(state, '$.{name}') = ?"
    return None


def _meets(value: Any, wanted: Any) -> bool:
    """A list on either side matches where both share an element; records compare by id."""
    values, choices = _elements(value), _elements(wanted)
    return any(left == right for left in values for right in choices)


def _elements(value: Any) -> list[Any]:
    items = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    return [identity(item) for item in items]


def identity(item: Any) -> Any:
    """Give what a value is compared by: a record's id, else the value itself."""
    return getattr(item, "id", item) if not isinstance(item, str | int | float | bool | None) else item


# --- derived fields ------------------------------------------------------------------------------------------------

_DERIVED: dict[tuple[type, str], Callable[[Lookups, Any], Any]] = {}


def _derived(cls: type, *names: str) -> Callable[[Callable[[Lookups, Any], Any]], Callable[[Lookups, Any], Any]]:
    def put(function: Callable[[Lookups, Any], Any]) -> Callable[[Lookups, Any], Any]:
        for name in names:
            _DERIVED[cls, name] = function
        return function

    return put


def _between(start: datetime | None, end: datetime | None) -> Duration | None:
    return Duration((end - start).total_seconds()) if start is not None and end is not None else None


def _latest(*instants: datetime | None) -> datetime | None:
    return max((instant for instant in instants if instant is not None), default=None)


def _service_team(world: Lookups, names: Sequence[str]) -> str | None:
    for name in names:
        service = world.service(name)
        if service is not None and service.team:
            return service.team
    return None


def _joined(world: Lookups, people: Sequence[Person]) -> list[Person]:
    joined = [world.directory.people.join(person) for person in people]
    return list({person.id: person for person in joined}.values())


_DERIVED |= {
    (Incident, "open"): lambda w, i: i.status != "resolved" and not i.merged_into,
    (Incident, "merged_into"): lambda w, i: w.subject("incident", i.merged_into) if i.merged_into else None,
    (Incident, "team"): lambda w, i: i.team or _service_team(w, i.services),
    (Incident, "roles"): lambda w, i: {name: w.join(person) for name, person in i.roles.items()},
    (Incident, "subscribers"): lambda w, i: _joined(w, i.subscribers),
    (Incident, "time_to_detect"): lambda w, i: _between(i.started_at, i.declared_at),
    (Incident, "time_to_acknowledge"): lambda w, i: _between(i.declared_at, i.acknowledged_at),
    (Incident, "time_to_resolve"): lambda w, i: _between(i.declared_at, i.resolved_at),
    (Incident, "idle"): lambda w, i: _between(_latest(i.declared_at, i.active_at), w.now),
    (Ticket, "assignee"): lambda w, t: w.join(t.assignee),
    (Ticket, "idle"): lambda w, t: _between(_latest(t.created_at, t.active_at), w.now),
    (Ticket, "incident"): lambda w, t: w.subject("incident", t.incident) if t.incident else None,
    (Ticket, "document"): lambda w, t: w.subject("document", t.document) if t.document else None,
    (Alert, "team"): lambda w, a: a.team or _service_team(w, [a.service] if a.service else []),
    (Document, "incident"): lambda w, d: w.subject("incident", d.incident) if d.incident else None,
    (Review, "incident"): lambda w, r: w.subject("incident", r.incident) if r.incident else None,
    (Review, "organizer"): lambda w, r: w.join(r.organizer),
    (Review, "attendees"): lambda w, r: _joined(w, r.attendees),
    (Review, "optional"): lambda w, r: _joined(w, r.optional),
    (Review, "accepted"): lambda w, r: _joined(w, r.accepted),
    (Review, "declined"): lambda w, r: _joined(w, r.declined),
    (Review, "left_out"): lambda w, r: _joined(w, r.left_out),
    (StatusEntry, "open"): lambda w, s: s.state != "resolved",
    (StatusEntry, "incident"): lambda w, s: w.subject("incident", s.incident) if s.incident else None,
    (Meeting, "open"): lambda w, m: m.ended_at is None,
    (Meeting, "incident"): lambda w, m: w.subject("incident", m.incident) if m.incident else None,
    (Person, "manager"): lambda w, p: w.person_by_id(w.directory.people.join(p).manager),
    (Person, "team"): lambda w, p: _team_of(w, p),
    (Team, "lead"): lambda w, t: w.person_by_id(t.lead),
    (Team, "members"): lambda w, t: [p for p in map(w.person_by_id, t.members) if p is not None],
    (Service, "team"): lambda w, s: w.team(s.team) if s.team else None,
    (Entry, "by"): lambda w, e: w.join(e.by),
    (ActionItem, "owner"): lambda w, a: w.join(a.owner),
    (Event, "actor"): lambda w, e: w.join(e.actor),
    (Event, "before"): lambda w, e: subject_of(e.subject_type, e.before) if e.before and e.subject_type else None,
}


@_derived(Ticket, "team")
def _ticket_team(world: Lookups, ticket: Ticket) -> str | None:
    if ticket.team:
        return ticket.team
    assignee = world.join(ticket.assignee)
    return assignee.team if assignee else None


@_derived(Team, "manager")
def _team_manager(world: Lookups, team: Team) -> Person | None:
    lead = world.person_by_id(team.lead)
    return world.person_by_id((lead.manager if lead else None) or team.manager)


@_derived(Team, "vars")
def _team_vars(world: Lookups, team: Team) -> Mapping[str, Any]:
    return {**world.directory.vars, **team.vars}


def _team_of(world: Lookups, person: Person) -> Team | None:
    joined = world.directory.people.join(person)
    return world.team(joined.team) if joined.team else None


#: The ids of an incident and of those that were merged into it, directly or through one another.
_SAME = """
WITH RECURSIVE same(id) AS (
  SELECT ? UNION SELECT s.id FROM subjects s JOIN same ON s.incident = same.id WHERE s.type = 'incident'
)
"""


@_derived(Incident, "duplicates")
def _duplicates(world: Lookups, incident: Incident) -> list[Incident]:
    rows = world.reader.execute(
        f"{_SAME} SELECT state FROM subjects WHERE type = 'incident' AND id IN (SELECT id FROM same) AND id != ?"
        " ORDER BY first_seen, id",
        (incident.id, incident.id),
    )
    return [subject_of("incident", json.loads(row["state"])) for row in rows]


@_derived(Incident, "participants")
def _participants(world: Lookups, incident: Incident) -> list[Person]:
    """Everybody with a role, whom the source names, and who acted on it."""
    people = [one for each in (incident, *_duplicates(world, incident)) for one in _named(each)]
    rows = world.reader.execute(
        f"{_SAME} SELECT actor FROM events WHERE subject IN (SELECT id FROM same) AND subject_type = 'incident'"
        " AND actor IS NOT NULL AND own = 0 ORDER BY id",
        (incident.id,),
    )
    people += [loads(row["actor"]) for row in rows]
    return _joined(world, people)


def _named(incident: Incident) -> list[Person]:
    return [*incident.roles.values(), *incident.participants]


@_derived(Incident, "action_items")
def _action_items(world: Lookups, incident: Incident) -> list[Ticket]:
    rows = world.reader.execute(
        f"{_SAME} SELECT state FROM subjects WHERE type = 'ticket' AND incident IN (SELECT id FROM same)"
        " ORDER BY first_seen, id",
        (incident.id,),
    )
    return [subject_of("ticket", json.loads(row["state"])) for row in rows]


#: So many characters are shown of a message that an entry is about.
_EXCERPT = 80

_TOLD = {
    "incident.declared": "Declared",
    "incident.acknowledged": "Acknowledged",
    "incident.mitigated": "Mitigated",
    "incident.resolved": "Resolved",
    "incident.reopened": "Reopened",
}


@_derived(Incident, "timeline")
def _timeline(world: Lookups, incident: Incident) -> list[Entry]:
    """Transitions, notes, what was captured, changes of fields and lasting effects, by their own time.

    Those of a duplicate stand under its key.
    """
    marks = {one.id: f"{one.key}: " for one in _duplicates(world, incident)}
    entries: list[Entry] = []
    captured: dict[str, list[Entry]] = {}
    events = world.reader.execute(
        f"{_SAME} SELECT * FROM events WHERE subject IN (SELECT id FROM same) AND subject_type = 'incident'"
        " ORDER BY time, id",
        (incident.id,),
    )
    for row in events:
        for one in _entries(row):
            if one.id is None:
                entries.append(_marked(one, marks.get(row["subject"], "")))
            else:
                captured.setdefault(row["subject"], []).append(one)
    for subject, said in captured.items():
        entries += [_marked(one, marks.get(subject, "")) for one in _as_told(as_they_are(said))]
    rows = world.reader.execute(
        f"{_SAME} SELECT e.action, e.ended, e.result, r.subject FROM runs r JOIN effects e ON r.id = e.run"
        " WHERE r.subject IN (SELECT id FROM same) AND r.subject_type = 'incident' AND e.state = 'done'"
        " AND e.action IN ('document.create', 'calendar.schedule', 'ticket.create')",
        (incident.id,),
    )
    for row in rows:
        result = loads(row["result"]) or {}
        entry = Entry(instant(row["ended"]), _EFFECTS[row["action"]](result), "effect", None, result.get("url"))
        entries.append(_marked(entry, marks.get(row["subject"], "")))
    return sorted(entries, key=lambda entry: entry.at)


def _entries(row: sqlite3.Row) -> Iterator[Entry]:
    """Give the lines that one event adds to a timeline."""
    if row["note"]:
        yield loads(row["note"])
    text = None
    if row["type"] in _TOLD and (row["state"] != "ignored" or row["reason"] == OLDER):
        merged = row["after"] and json.loads(row["after"]).get("merged_into")
        text = None if merged and row["note"] else _TOLD[row["type"]]  # the note says that it was merged
    elif row["type"] == "incident.updated" and row["before"] and row["after"]:
        text = _changes(json.loads(row["before"]), json.loads(row["after"]))
    if text:
        yield Entry(instant(row["time"]), text, "transition", loads(row["actor"]))


def as_they_are(said: Iterable[Entry]) -> list[Entry]:
    """Give captured entries, each once: as it was last said, at its first time, with what people marked it as."""
    newest: dict[str | None, Entry] = {}
    for one in said:
        known = newest.setdefault(one.id, one)
        last = one if _said_at(one) >= _said_at(known) else known
        newest[one.id] = replace(last, at=min(one.at, known.at)) if one.at != known.at else last
    marks: dict[str | None, tuple[str, ...]] = {}
    for one in newest.values():
        if one.marks and one.withdrawn is None:
            marks[one.about] = tuple(dict.fromkeys((*marks.get(one.about, ()), *one.marks)))
    return [replace(one, marks=marks[one.id]) if one.id in marks else one for one in newest.values()]


def _said_at(entry: Entry) -> datetime:
    return entry.withdrawn or entry.edited or entry.at


def _as_told(captured: Sequence[Entry]) -> Iterator[Entry]:
    """Give entries with texts that say what became of them, and what they are about."""
    by_id = {one.id: one for one in captured}
    for one in captured:
        what = by_id.get(one.about) if one.kind in ("reaction", "pin") else None
        excerpt = " ".join(what.text.split()) if what is not None else ""
        if excerpt:
            joint = " to" if one.kind == "reaction" else ":"
            excerpt = f"{joint} “{excerpt if len(excerpt) <= _EXCERPT else excerpt[: _EXCERPT - 1] + '…'}”"
        if one.withdrawn is not None:
            yield replace(one, text=f"{one.text}{excerpt} (taken back)" if one.text else "(a message that was deleted)")
        else:
            yield replace(one, text=f"{one.text}{excerpt}{' (edited)' if one.edited else ''}")


def _marked(entry: Entry, mark: str) -> Entry:
    return replace(entry, text=mark + entry.text) if mark else entry


_EFFECTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "document.create": lambda r: f"Document {_titled(r)}created",
    "calendar.schedule": lambda r: f"Review {_titled(r)}booked",
    "ticket.create": lambda r: f"Ticket {r.get('key')} filed" + (f": {r['title']}" if r.get("title") else ""),
}


def _titled(result: Mapping[str, Any]) -> str:
    """Give the title of what was made, if it has not been pruned."""
    return f"“{result['title']}” " if result.get("title") else ""


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    parts = [
        f"{name} {before.get(name) or 'unknown'} → {after.get(name) or 'unknown'}"
        for name in ("severity", "title")
        if before.get(name) != after.get(name)
    ]
    roles = after.get("roles") or {}
    for name, person in roles.items():
        if (before.get("roles") or {}).get(name) != person:
            parts.append(f"{name.replace('_', ' ')}: {person.get('~person', {}).get('name', '?')}")
    return "; ".join(parts)
