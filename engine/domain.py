"""What runs are about: incidents, tickets, alerts, documents, reviews, and the people and teams around them.

Frozen dataclasses, the same for every vendor, with None where a vendor does not say. They are what actions take and
give, what providers return, and what `FIELDS` makes of them is what an expression may read (LANGUAGE section 9).
References to people, teams and services are held by id or name and joined with the roster when they are read, so that
a change in `people.yaml` is seen at once. Instants are aware datetimes in UTC, durations `engine.calendars.Duration`.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from engine.calendars import Duration


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, as far as known: of the roster, or only a name that a vendor gave.

    `id` is the roster's key, or `SYSTEM:ID` for somebody whom the roster does not know.
    """

    id: str
    name: str
    email: str | None = None
    timezone: str | None = None  #: IANA name
    manager: str | None = None  #: the manager's id
    team: str | None = None  #: the team's id
    ids: Mapping[str, str] = field(default_factory=dict)  #: ids in other systems, by provider name
    calendar: str | None = None  #: how the calendar provider finds this person's calendar
    hours: str | None = None  #: name of the calendar with this person's working hours
    max_per_day: int | None = None
    known: bool = False  #: whether the roster knows them


@dataclass(frozen=True, slots=True)
class Team:
    id: str
    name: str
    lead: str | None = None
    manager: str | None = None
    members: tuple[str, ...] = ()
    channel: str | None = None
    rotation: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    id: str
    name: str
    team: str | None = None
    rotation: str | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """Who is on call in turn: the first member from `start` on, the next one every `every`.

    Shifts are counted on the wall clock of `timezone`, so that a hand-over keeps its local time over a change of
    daylight saving time. `start` is aware, or naive in `timezone`.
    """

    name: str
    members: tuple[str, ...]  #: ids of people
    every: Duration
    start: datetime
    timezone: str  #: IANA name


@dataclass(frozen=True, slots=True)
class Roster:
    """The people file as read: people, teams, services and rotations by id."""

    people: Mapping[str, Person] = field(default_factory=dict)
    teams: Mapping[str, Team] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    rotations: Mapping[str, Rotation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an incident's timeline: what happened, when, and who or what did it.

    One with an `id` may be said again: edited, or withdrawn. What was said last is what it is.
    """

    at: datetime
    text: str
    kind: str = "note"  #: transition, note, message, effect; of a chat also: reaction, pin, join, leave, channel
    by: Person | None = None
    url: str | None = None
    id: str | None = None  #: what it is where it was captured: `C024BE91L/1772442000.000100`
    about: str | None = None  #: the id of the entry that it answers or marks
    edited: datetime | None = None
    withdrawn: datetime | None = None  #: when it was deleted or taken back; its text is gone then
    marks: tuple[str, ...] = ()  #: what people marked it as: timeline, opportunity, action_item


StatusState = Literal["investigating", "identified", "monitoring", "resolved"]
StatusImpact = Literal["none", "minor", "major", "critical"]
ComponentState = Literal["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"]


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """One incident as a status page tells of it. `components` holds each that it names, by key."""

    id: str  #: with its connection: `status:k3v9…`
    title: str
    url: str | None = None
    state: StatusState = "investigating"
    impact: StatusImpact = "minor"
    components: Mapping[str, ComponentState] = field(default_factory=dict)
    incident: str | None = None  #: the incident's id
    created_at: datetime | None = None
    resolved_at: datetime | None = None
    left_out: tuple[str, ...] = ()  #: what was named as affected and is no component of the page


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One message for a status page. None leaves as it is; a component whose state is None follows the impact."""

    text: str  #: Markdown
    title: str | None = None
    state: StatusState | None = None
    impact: StatusImpact | None = None
    components: Mapping[str, ComponentState | None] = field(default_factory=dict)  #: by component or service


@dataclass(frozen=True, slots=True)
class Meeting:
    """A video call that people join by a link, such as an incident's bridge."""

    id: str  #: with its connection: `jitsi:k3v9…`
    title: str
    url: str | None = None
    incident: str | None = None  #: the incident's id
    created_at: datetime | None = None
    ended_at: datetime | None = None


IncidentStatus = Literal["declared", "acknowledged", "mitigated", "resolved"]


@dataclass(frozen=True, slots=True)
class Incident:
    id: str  #: with its connection: `pager:PCPZE64`
    key: str
    title: str
    url: str | None = None
    severity: str | None = None
    status: IncidentStatus = "declared"
    drill: bool = False
    private: bool = False
    labels: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    team: str | None = None
    roles: Mapping[str, Person] = field(default_factory=dict)
    participants: tuple[Person, ...] = ()
    subscribers: tuple[Person, ...] = ()
    channel: str | None = None
    status_page: StatusEntry | None = None
    meeting: Meeting | None = None
    started_at: datetime | None = None  #: when the impact began
    declared_at: datetime | None = None
    acknowledged_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    active_at: datetime | None = None  #: the last thing a person did about it
    merged_into: str | None = None  #: the id of the incident that it is a duplicate of


@dataclass(frozen=True, slots=True)
class Ticket:
    id: str  #: with its connection: `local:HW-3`
    key: str
    title: str
    url: str | None = None
    done: bool = False
    labels: tuple[str, ...] = ()
    project: str | None = None
    service: str | None = None
    team: str | None = None
    assignee: Person | None = None
    description: str | None = None
    incident: str | None = None  #: the incident's id
    document: str | None = None  #: the document's id
    due: datetime | None = None
    created_at: datetime | None = None
    closed_at: datetime | None = None
    active_at: datetime | None = None  #: the last change by a human who is not one of our accounts
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    id: str
    fingerprint: str
    name: str
    title: str | None = None
    severity: str | None = None
    firing: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    service: str | None = None
    team: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    title: str
    url: str | None = None
    published: bool = False
    incident: str | None = None  #: the incident's id
    template: str | None = None
    path: str | None = None  #: folder and name at the provider, for `under`
    content: str | None = None  #: hash of the content, so that publishing again with another content is seen


@dataclass(frozen=True, slots=True)
class Review:
    id: str
    title: str
    start: datetime | None = None
    end: datetime | None = None
    url: str | None = None
    organizer: Person | None = None
    attendees: tuple[Person, ...] = ()  #: everybody who is invited
    optional: tuple[Person, ...] = ()  #: those of them who may stay away
    accepted: tuple[Person, ...] = ()  #: those of them who said that they come to this time
    declined: tuple[Person, ...] = ()  #: those of them who said that they do not
    video_url: str | None = None  #: where to join by video
    incident: str | None = None
    cancelled: bool = False
    left_out: tuple[Person, ...] = ()  #: whom the calendar could not reach
    reason: str | None = None  #: why this slot


@dataclass(frozen=True, slots=True)
class ActionItem:
    """One row of a report's action item table. `id` is the hash of its normalised *what* cell."""

    id: str
    what: str
    owner: Person | None = None
    owner_text: str | None = None  #: the cell as written
    due: datetime | None = None
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that arrived or was derived. `before` and `after` are the subject's state around it."""

    id: str  #: printable and unique: `evt_…`
    type: str
    source: str  #: the connection it came by, or `hotwash`
    time: datetime  #: when it happened, by its own account
    subject_type: str | None = None
    subject: str | None = None  #: the subject's id
    actor: Person | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    caused_by: str | None = None  #: identity of the effect, where a run of ours caused it
    own: bool = False  #: whether one of our own accounts did it
    depth: int = 0  #: how many runs stand behind it
    private: bool = False  #: whether only those concerned may see what it is about


Subject = Incident | Ticket | Alert | Document | Review

#: Subject types by the name that workflows use.
SUBJECTS: Mapping[str, type[Any]] = types.MappingProxyType(
    {"incident": Incident, "ticket": Ticket, "alert": Alert, "document": Document, "review": Review}
)

#: Fields that the engine owns, whatever the source says of the rest (PROMISES, "State of a subject").
ENGINE_OWNED: Mapping[str, frozenset[str]] = types.MappingProxyType(
    {
        "incident": frozenset(
            {"roles", "channel", "subscribers", "status_page", "meeting", "active_at", "merged_into"}
        ),
        "ticket": frozenset({"incident", "document"}),
        "alert": frozenset(),
        "document": frozenset(),
        "review": frozenset(),
    }
)


# --- what an expression may read -----------------------------------------------------------------------------------
# A kind is the static type of a value, spelled as a text: "text", "number", "boolean", "instant", "duration", "any",
# a record's name ("incident", "person", …), "list[KIND]" or "map[KIND]".

Kind = str


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record: its kind, and a sentence for the reference."""

    kind: Kind
    doc: str
    derived: bool = False  #: not stored: computed by `engine.store.lookups` when read


def _f(kind: Kind, doc: str) -> Field:
    return Field(kind, doc)


def _d(kind: Kind, doc: str) -> Field:
    return Field(kind, doc, derived=True)


#: Every record's fields by name: the one place that says what a workflow may write after a dot.
FIELDS: Mapping[str, Mapping[str, Field]] = {
    "incident": {
        "id": _f("text", "Its id, with the connection it came by."),
        "key": _f("text", "The short name people say, such as INC-7."),
        "title": _f("text", "What the source calls it."),
        "url": _f("text", "Where it is at its source."),
        "severity": _f("text", "From the connection's `severity:` map; without one, urgency high is sev2, low sev4."),
        "status": _f("text", "declared, acknowledged, mitigated or resolved."),
        "open": _d("boolean", "Whether it is neither resolved nor merged into another."),
        "merged_into": _d("incident", "The incident that it is a duplicate of."),
        "duplicates": _d("list[incident]", "The incidents that were merged into it."),
        "drill": _f("boolean", "Whether it is an exercise."),
        "private": _f("boolean", "Whether only those concerned may see it."),
        "labels": _f("list[text]", "Labels."),
        "services": _f("list[text]", "Names of the affected services."),
        "team": _d("text", "Name of the team; else that of its first service."),
        "roles": _d("map[person]", "Who has which role, by the role's name."),
        "participants": _d("list[person]", "Everybody who took part, in its duplicates too."),
        "subscribers": _d("list[person]", "Everybody who asked to be told."),
        "channel": _f("text", "Its chat channel."),
        "timeline": _d("list[entry]", "What happened, in its duplicates too, in order."),
        "action_items": _d("list[ticket]", "The tickets that came of it and of its duplicates."),
        "status_page": _f("status_entry", "Its entry on the status page, the newest where there are several."),
        "meeting": _f("meeting", "Its bridge: the call in which it is worked on, the newest where there are several."),
        "started_at": _f("instant", "When the impact began."),
        "declared_at": _f("instant", "When it was declared."),
        "acknowledged_at": _f("instant", "When somebody took it."),
        "mitigated_at": _f("instant", "When the impact ended."),
        "resolved_at": _f("instant", "When it was resolved."),
        "time_to_detect": _d("duration", "From the start of the impact to the declaration."),
        "time_to_acknowledge": _d("duration", "From the declaration to the acknowledgement."),
        "time_to_resolve": _d("duration", "From the declaration to the resolution."),
        "idle": _d("duration", "How long nobody has done anything about it."),
    },
    "ticket": {
        "id": _f("text", "Its id, with the connection it came by."),
        "key": _f("text", "The name people say, such as HW-12."),
        "title": _f("text", "One line."),
        "url": _f("text", "Where it is at its tracker."),
        "done": _f("boolean", "Whether it is closed."),
        "labels": _f("list[text]", "Labels."),
        "project": _f("text", "The project it is filed under."),
        "service": _f("text", "Name of the service it is about."),
        "team": _d("text", "Name of the team; else its assignee's."),
        "assignee": _d("person", "Who works on it."),
        "description": _f("text", "The long text."),
        "incident": _d("incident", "The incident it came of."),
        "document": _d("document", "The document it was filed from."),
        "due": _f("instant", "When it should be done."),
        "created_at": _f("instant", "When it was filed."),
        "closed_at": _f("instant", "When it was closed."),
        "idle": _d("duration", "Time since the last change by a human."),
        "provider": _f("text", "The provider that keeps it."),
    },
    "alert": {
        "id": _f("text", "Its id, with the connection it came by."),
        "fingerprint": _f("text", "What identifies the alert at its source."),
        "name": _f("text", "The alert rule's name."),
        "title": _f("text", "Its summary."),
        "severity": _f("text", "From the connection's `severity:` map, else the label's own value."),
        "firing": _f("boolean", "Whether it fires now."),
        "labels": _f("map[text]", "Labels by name."),
        "service": _f("text", "Name of the service it is about."),
        "team": _d("text", "Name of the team; else that of its service."),
        "started_at": _f("instant", "When it began to fire."),
        "ended_at": _f("instant", "When it stopped."),
    },
    "document": {
        "id": _f("text", "Its id, with the connection that keeps it."),
        "title": _f("text", "Its title."),
        "url": _f("text", "Where to read it."),
        "published": _f("boolean", "Whether it is no longer a draft."),
        "incident": _d("incident", "The incident it is about."),
        "template": _f("text", "The template it was made from."),
    },
    "review": {
        "id": _f("text", "Its id, with the calendar that keeps it."),
        "title": _f("text", "Its title."),
        "start": _f("instant", "When it begins."),
        "end": _f("instant", "When it ends."),
        "url": _f("text", "Where to see it."),
        "organizer": _d("person", "Who invited."),
        "attendees": _d("list[person]", "Who is invited."),
        "optional": _d("list[person]", "Who of them may stay away."),
        "accepted": _d("list[person]", "Who of them said that they come, where the calendar tells."),
        "declined": _d("list[person]", "Who of them said that they do not come, where the calendar tells."),
        "video_url": _f("text", "Where to join by video."),
        "incident": _d("incident", "The incident it is about."),
        "cancelled": _f("boolean", "Whether it was called off."),
        "left_out": _d("list[person]", "Whom the calendar could not reach."),
        "reason": _f("text", "Why this slot."),
    },
    "person": {
        "id": _f("text", "Key in the roster, or the id in the system that named them."),
        "name": _f("text", "Name."),
        "email": _f("text", "E-mail address."),
        "timezone": _f("text", "IANA time zone."),
        "manager": _d("person", "Their manager."),
        "team": _d("team", "Their team."),
    },
    "team": {
        "id": _f("text", "Key in the roster."),
        "name": _f("text", "Name."),
        "lead": _d("person", "Who leads it."),
        "manager": _d("person", "The lead's manager, else the one named."),
        "members": _d("list[person]", "Who belongs to it."),
        "channel": _f("text", "Its chat channel."),
        "vars": _d("map[any]", "The project's `vars`, overridden by the team's."),
    },
    "service": {
        "id": _f("text", "Key in the roster."),
        "name": _f("text", "Name."),
        "team": _d("team", "The team that runs it."),
    },
    "status_entry": {
        "id": _f("text", "Its id, with the connection that keeps it."),
        "title": _f("text", "What the page calls it."),
        "url": _f("text", "Where to read it."),
        "state": _f("text", "investigating, identified, monitoring or resolved."),
        "open": _d("boolean", "Whether it is not resolved."),
        "impact": _f("text", "none, minor, major or critical."),
        "components": _f("map[text]", "The state of each affected component, by its key."),
        "incident": _d("incident", "The incident it tells of."),
        "created_at": _f("instant", "When it was first told."),
        "resolved_at": _f("instant", "When the page said that it is over."),
        "left_out": _f("list[text]", "What was named as affected and is no component of the page."),
    },
    "meeting": {
        "id": _f("text", "Its id, with the connection that keeps it."),
        "title": _f("text", "What it is called."),
        "url": _f("text", "Where to join."),
        "open": _d("boolean", "Whether it was not ended."),
        "incident": _d("incident", "The incident it is held for."),
        "created_at": _f("instant", "When it was opened."),
        "ended_at": _f("instant", "When it was ended."),
    },
    "entry": {
        "at": _f("instant", "When."),
        "text": _f("text", "What happened."),
        "kind": _f(
            "text", "transition, note, message or effect; of a chat also reaction, pin, join, leave or channel."
        ),
        "by": _d("person", "Who did it."),
        "url": _f("text", "Where to see it."),
        "id": _f("text", "What it is where it was captured; null for what was not captured."),
        "about": _f("text", "The id of the entry that it answers, or that it marks."),
        "edited": _f("instant", "When it was last edited."),
        "withdrawn": _f("instant", "When it was deleted or taken back."),
        "marks": _f("list[text]", "What people marked it as: timeline, opportunity, action_item."),
    },
    "action_item": {
        "id": _f("text", "Hash of the normalised text of what is to be done."),
        "what": _f("text", "What is to be done."),
        "owner": _d("person", "Who will do it."),
        "owner_text": _f("text", "The owner as written in the table."),
        "due": _f("instant", "When it should be done."),
        "ticket": _f("text", "Key of the ticket that was filed for it."),
    },
    "event": {
        "id": _f("text", "Its id."),
        "type": _f("text", "Such as incident.resolved."),
        "source": _f("text", "The connection it came by."),
        "time": _f("instant", "When it happened."),
        "subject": _f("text", "Id of what it is about."),
        "actor": _d("person", "Who did it."),
        "data": _f("any", "What the source said beside the subject."),
        "before": _d("any", "The subject's state before."),
    },
    "error": {
        "message": _f("text", "What went wrong."),
        "step": _f("text", "The step that failed."),
        "code": _f("text", "A stable name of the kind of error."),
    },
    "group": {
        "key": _f("any", "What the members share."),
        "list": _f("list[any]", "The members."),
    },
}

#: Record classes by the kind that names them.
RECORDS: Mapping[str, type[Any]] = types.MappingProxyType(
    {
        **SUBJECTS,
        "person": Person,
        "team": Team,
        "service": Service,
        "entry": Entry,
        "status_entry": StatusEntry,
        "meeting": Meeting,
        "action_item": ActionItem,
        "event": Event,
    }
)
_KIND_OF_CLASS: dict[Any, Kind] = {cls: kind for kind, cls in RECORDS.items()}
_KIND_OF_CLASS |= {str: "text", bool: "boolean", int: "number", float: "number", datetime: "instant"}
_KIND_OF_CLASS |= {Duration: "duration", Any: "any", object: "any", type(None): "any"}


def kind_of(annotation: Any) -> Kind:
    """Give the kind that values of a Python annotation have in an expression; `any` where none fits."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return kind_of(args[0])
    if origin in (Union, types.UnionType):
        kinds = {kind_of(arg) for arg in args if arg is not type(None)}
        return kinds.pop() if len(kinds) == 1 else "any"
    if origin is Literal:
        return kind_of(type(args[0]))
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, typing.Sequence)):
        return f"list[{kind_of(args[0])}]" if args else "list[any]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"map[{kind_of(args[1])}]" if args else "map[any]"
    return _KIND_OF_CLASS.get(annotation, "any")


def element_of(kind: Kind) -> Kind:
    """Give the kind of the elements of a list or of the values of a mapping; `any` for everything else."""
    if kind.startswith(("list[", "map[")):
        return kind[kind.index("[") + 1 : -1]
    return "any"


def outputs_of(returns: Any) -> Mapping[str, Field]:
    """Give the output fields of an action that returns `returns`: those of its record, or of its dataclass."""
    kind = kind_of(returns)
    if kind in FIELDS:
        return FIELDS[kind]
    return _fields_of(returns) if isinstance(returns, type) and is_dataclass(returns) else {}


@functools.cache
def _fields_of(record: type[Any]) -> Mapping[str, Field]:
    hints = get_type_hints(record)
    found = {f.name: Field(kind_of(hints[f.name]), str(f.metadata.get("doc", ""))) for f in fields(record)}
    return types.MappingProxyType(found)
