"""Tickets and incidents that need no account: they are kept in the engine's own database.

A ticket or incident *is* its subject row: changing one emits a fact, which the engine writes together with the
effect's result, and reading one reads the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from pydantic import model_validator

from engine.capabilities import Changes, TicketDraft, Where
from engine.domain import ENGINE_OWNED, Entry, Incident, Person, Ticket
from engine.plugins import ActionError, Connection, Effect, Fact, Field, Options, own_rows, provider

_PREFIX = r"^[A-Z][A-Z0-9]{0,9}$"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_LONGEST_TITLE = 300
_LONGEST_TEXT = 64 * 1024
_LONGEST_WORD = 100
_MOST_WORDS = 100

_TICKET_FIELDS = ("title", "description", "labels", "assignee", "due", "team", "service", "project")
_INCIDENT_FIELDS = ("title", "severity", "labels", "services", "status")
_RANK = {"declared": 0, "acknowledged": 1, "mitigated": 2, "resolved": 3}

_Record = TypeVar("_Record", Ticket, Incident)


class LocalOptions(Options):
    """Options of local tickets and incidents.

    Example:
        local:
          provider: local
          key: HW
          incident_key: INC
    """

    key: str = Field(default="HW", pattern=_PREFIX, description="What ticket keys begin with: HW-1.")
    incident_key: str = Field(default="INC", pattern=_PREFIX, description="What incident keys begin with: INC-1.")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.key == self.incident_key:
            raise ValueError(f"'key' and 'incident_key' must differ: both are '{self.key}'")
        return self


class LocalTickets:
    """Tickets of one connection."""

    def __init__(self, prefix: str, connection: Connection) -> None:
        self._prefix = prefix
        self._connection = connection

    async def create(self, draft: TicketDraft, *, effect: Effect) -> Ticket:
        """Take the next number and keep the ticket."""
        if draft.fields:
            raise ActionError(f"local tickets have no field '{next(iter(draft.fields))}'")
        key = f"{self._prefix}-{self._connection.storage.next('ticket')}"
        given = {name: getattr(draft, name) for name in _TICKET_FIELDS}
        ticket = Ticket(
            id=f"{self._connection.name}:{key}",
            key=key,
            incident=draft.incident,
            document=draft.document,
            created_at=effect.at,
            active_at=effect.at,
            provider="local",
            **_checked(given, _TICKET_FIELDS, "ticket"),
        )
        self._emit("ticket.created", ticket, {f.name: getattr(ticket, f.name) for f in fields(ticket)}, effect)
        return ticket

    async def update(self, ticket: str, changes: Mapping[str, Any], *, effect: Effect) -> Ticket:
        """Set fields. Where nothing differs, nothing is written."""
        found = self._known(ticket)
        changed = _differences(found, _checked(changes, _TICKET_FIELDS, "ticket"))
        return self._touch("ticket.updated", found, changed, effect) if changed else found

    async def comment(self, ticket: str, text: str, *, effect: Effect) -> Ticket:
        """Keep a comment as an event of the ticket, its text in `data.comment`."""
        return self._touch("ticket.commented", self._known(ticket), {}, effect, _comment(text, required=True))

    async def link(self, ticket: str, other: str, relation: str, *, effect: Effect) -> Ticket:
        """Say on both, in a comment, what the one is to the other."""
        one, two = self._known(ticket), self._known(other)
        self._touch("ticket.commented", two, {}, effect, _comment(f"{one.key} {relation} {two.key}: {one.title}"))
        told = _comment(f"{one.key} {relation} {two.key}: {two.title}")
        return self._touch("ticket.commented", one, {}, effect, told)

    async def close(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket:
        """Mark it done. One that is done already stays so, and keeps the comment."""
        found, data = self._known(ticket), _comment(comment)
        if found.done:
            return self._touch("ticket.commented", found, {}, effect, data) if data else found
        return self._touch("ticket.closed", found, {"done": True, "closed_at": effect.at}, effect, data)

    async def reopen(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket:
        """Mark it not done. One that is open already stays so, and keeps the comment."""
        found, data = self._known(ticket), _comment(comment)
        if not found.done:
            return self._touch("ticket.commented", found, {}, effect, data) if data else found
        return self._touch("ticket.reopened", found, {"done": False, "closed_at": None}, effect, data)

    async def get(self, ticket: str) -> Ticket | None:
        """Read it as committed."""
        return _find(self._connection, "ticket", ticket, Ticket)

    async def search(self, where: Where, query: str | None) -> Sequence[Ticket]:
        """Give the tickets that fit `where`, newest first."""
        if query is not None:
            raise ActionError("local tickets have no query language: use 'where'")
        tickets = self._connection.storage.scan("ticket", done=where.done, idle_since=where.idle_since)
        found = [ticket async for ticket in tickets if self._fits(ticket, where)]
        return sorted(found, key=lambda ticket: (ticket.created_at or _LONG_AGO, ticket.id), reverse=True)

    async def changes(self, cursor: str | None) -> Changes:
        """Give nothing: every change of a local ticket is an event already."""
        return Changes((), cursor or "")

    def _fits(self, ticket: Ticket, where: Where) -> bool:
        if where.done is not None and ticket.done != where.done:
            return False
        if not set(where.labels) <= set(ticket.labels):
            return False
        if where.project is not None and ticket.project != where.project:
            return False
        if where.team is not None and self._team(ticket) != where.team:
            return False
        return where.assignee is None or self._is_assignee(ticket, where.assignee)

    def _team(self, ticket: Ticket) -> str | None:
        if ticket.team is not None or ticket.assignee is None:
            return ticket.team
        return self._connection.people.join(ticket.assignee).team

    def _is_assignee(self, ticket: Ticket, wanted: str) -> bool:
        if ticket.assignee is None:
            return False
        person = self._connection.people.person(wanted)
        return self._connection.people.join(ticket.assignee).id == (person.id if person else wanted)

    def _known(self, ref: str) -> Ticket:
        found = _find(self._connection, "ticket", ref, Ticket)
        return found if found is not None else _missing(self._connection, "ticket", ref)

    def _touch(
        self,
        event: str,
        ticket: Ticket,
        changed: Mapping[str, Any],
        effect: Effect,
        data: Mapping[str, Any] | None = None,
    ) -> Ticket:
        """Change a ticket. What a person does through us also counts as a human's last change."""
        if effect.actor is not None:
            changed = {**changed, "active_at": effect.at}
        self._emit(event, ticket, changed, effect, data)
        return replace(ticket, **changed)

    def _emit(
        self,
        event: str,
        ticket: Ticket,
        changed: Mapping[str, Any],
        effect: Effect,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        _emit(self._connection, Fact(event, effect.at, "ticket", ticket.id, changed, data or {}), effect)


class LocalIncidents:
    """Incidents of one connection."""

    def __init__(self, prefix: str, connection: Connection) -> None:
        self._prefix = prefix
        self._connection = connection

    async def declare(
        self,
        title: str,
        *,
        severity: str | None,
        services: Sequence[str],
        labels: Sequence[str],
        drill: bool,
        private: bool,
        summary: str | None,
        started_at: datetime | None,
        effect: Effect,
    ) -> Incident:
        """Take the next number and keep the incident; the summary begins its timeline."""
        given = {"title": title, "severity": severity, "labels": labels, "services": services}
        key = f"{self._prefix}-{self._connection.storage.next('incident')}"
        incident = Incident(
            id=f"{self._connection.name}:{key}",
            key=key,
            drill=drill,
            private=private,
            started_at=started_at,
            declared_at=effect.at,
            **_checked(given, _INCIDENT_FIELDS, "incident"),
        )
        owned = ENGINE_OWNED["incident"]
        state = {f.name: getattr(incident, f.name) for f in fields(incident) if f.name not in owned}
        note = Entry(effect.at, _text(summary), by=effect.actor) if summary else None
        self._emit("incident.declared", incident, state, effect, note)
        return incident

    async def update(self, incident: str, changes: Mapping[str, Any], *, effect: Effect) -> Incident:
        """Set title, severity, labels, services or status. Where nothing differs, nothing is written.

        Status moves forward, a step or several; `declared` reopens.
        """
        found = self._known(incident)
        wanted = _checked(changes, _INCIDENT_FIELDS, "incident")
        event, moved = _moved(found, wanted.pop("status", None), effect.at)
        changed = _differences(found, wanted | moved)
        if not changed:
            return found
        self._emit(event, found, changed, effect)
        return replace(found, **changed)

    async def acknowledge(self, incident: str, *, effect: Effect) -> Incident:
        """Say that somebody is on it."""
        return await self.update(incident, {"status": "acknowledged"}, effect=effect)

    async def mitigate(self, incident: str, *, effect: Effect) -> Incident:
        """Say that the impact has ended."""
        return await self.update(incident, {"status": "mitigated"}, effect=effect)

    async def resolve(self, incident: str, *, effect: Effect) -> Incident:
        """Say that it is over."""
        return await self.update(incident, {"status": "resolved"}, effect=effect)

    async def reopen(self, incident: str, *, effect: Effect) -> Incident:
        """Say that it is not over after all."""
        return await self.update(incident, {"status": "declared"}, effect=effect)

    async def get(self, incident: str) -> Incident | None:
        """Read it as committed."""
        return _find(self._connection, "incident", incident, Incident)

    def _known(self, ref: str) -> Incident:
        found = _find(self._connection, "incident", ref, Incident)
        return found if found is not None else _missing(self._connection, "incident", ref)

    def _emit(
        self, event: str, incident: Incident, changed: Mapping[str, Any], effect: Effect, note: Entry | None = None
    ) -> None:
        _emit(self._connection, Fact(event, effect.at, "incident", incident.id, changed, note=note), effect)


class LocalDesk:
    """Keep tickets and incidents in the engine's own database.

    `update`, `get` and `reopen` serve both: the reference says which, by what its key begins with.
    """

    #: What it gives is read from the engine's own database: there is nothing to read again elsewhere.
    own_store = True

    def __init__(self, options: LocalOptions, connection: Connection) -> None:
        self._incident_key = options.incident_key
        self.tickets = LocalTickets(options.key, connection)
        self.incidents = LocalIncidents(options.incident_key, connection)

    @own_rows
    async def create(self, draft: TicketDraft, *, effect: Effect) -> Ticket:
        """File a ticket."""
        return await self.tickets.create(draft, effect=effect)

    @own_rows
    async def comment(self, ticket: str, text: str, *, effect: Effect) -> Ticket:
        """Comment on a ticket."""
        return await self.tickets.comment(ticket, text, effect=effect)

    @own_rows
    async def link(self, ticket: str, other: str, relation: str, *, effect: Effect) -> Ticket:
        """Link two tickets."""
        return await self.tickets.link(ticket, other, relation, effect=effect)

    @own_rows
    async def close(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket:
        """Close a ticket."""
        return await self.tickets.close(ticket, comment=comment, effect=effect)

    async def search(self, where: Where, query: str | None) -> Sequence[Ticket]:
        """Give the tickets that fit."""
        return await self.tickets.search(where, query)

    async def changes(self, cursor: str | None) -> Changes:
        """Give nothing: every change is an event already."""
        return await self.tickets.changes(cursor)

    @own_rows
    async def declare(self, title: str, *, effect: Effect, **details: Any) -> Incident:
        """Declare an incident, with the details that `LocalIncidents.declare` names."""
        return await self.incidents.declare(title, effect=effect, **details)

    @own_rows
    async def acknowledge(self, incident: str, *, effect: Effect) -> Incident:
        """Acknowledge an incident."""
        return await self.incidents.acknowledge(incident, effect=effect)

    @own_rows
    async def mitigate(self, incident: str, *, effect: Effect) -> Incident:
        """Mitigate an incident."""
        return await self.incidents.mitigate(incident, effect=effect)

    @own_rows
    async def resolve(self, incident: str, *, effect: Effect) -> Incident:
        """Resolve an incident."""
        return await self.incidents.resolve(incident, effect=effect)

    async def log(self, incident: str) -> Sequence[Entry]:
        """Give nothing: all that is known of it is in its timeline."""
        return ()

    @own_rows
    async def note(self, incident: str, text: str, *, effect: Effect) -> None:
        """Do nothing: the note in the incident's timeline is all there is."""

    @own_rows
    async def update(self, ref: str, changes: Mapping[str, Any], *, effect: Effect) -> Ticket | Incident:
        """Set fields of a ticket or an incident."""
        if self._is_incident(ref):
            return await self.incidents.update(ref, changes, effect=effect)
        return await self.tickets.update(ref, changes, effect=effect)

    @own_rows
    async def reopen(self, ref: str, *, effect: Effect, comment: str | None = None) -> Ticket | Incident:
        """Reopen a ticket or an incident."""
        if self._is_incident(ref):
            return await self.incidents.reopen(ref, effect=effect)
        return await self.tickets.reopen(ref, comment=comment, effect=effect)

    async def get(self, ref: str) -> Ticket | Incident | None:
        """Read a ticket or an incident as committed."""
        return await (self.incidents.get(ref) if self._is_incident(ref) else self.tickets.get(ref))

    def _is_incident(self, ref: str) -> bool:
        """Tell by the key. What is of another connection is refused further on, by name."""
        key = ref.strip().rpartition(":")[2]
        return key.upper().startswith(f"{self._incident_key}-")


def _find(connection: Connection, kind: str, ref: str, record: type[_Record]) -> _Record | None:
    """Find a subject of this connection by id or key, whatever the key's case."""
    owner, _, key = ref.strip().rpartition(":")
    if owner not in ("", connection.name):
        return None
    found = connection.storage.subject(kind, f"{connection.name}:{key.upper()}")
    return found if isinstance(found, record) else None


def _missing(connection: Connection, kind: str, ref: str) -> Any:
    owner = ref.strip().rpartition(":")[0]
    if owner not in ("", connection.name):
        raise ActionError(
            f"'{ref}' is kept by connection '{owner}': '{connection.name}' changes only what it keeps itself "
            "(a step may name another connection with 'connection:')"
        )
    raise ActionError(f"no {kind} of '{connection.name}' is called '{ref}'")


def _emit(connection: Connection, fact: Fact, effect: Effect) -> None:
    """Say what happened: an act of the person who acts through us, else our own."""
    effect.emit(connection.name, replace(fact, actor=effect.actor, own=effect.actor is None))


def _moved(incident: Incident, status: str | None, at: datetime) -> tuple[str, dict[str, Any]]:
    """Give the event that leads to a status, and the fields that change with it."""
    if status is None or status == incident.status:
        return "incident.updated", {}
    if status == "declared":  # keep when it was first acknowledged: somebody did answer
        reopened = {"status": status, "acknowledged_at": incident.acknowledged_at}
        return "incident.reopened", reopened | {"mitigated_at": None, "resolved_at": None}
    if _RANK[status] < _RANK[incident.status]:
        raise ActionError(f"{incident.key} is {incident.status}: reopen it before it can be {status}")
    column = f"{status}_at"
    return f"incident.{status}", {"status": status, column: getattr(incident, column) or at}


def _differences(record: Ticket | Incident, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if getattr(record, name) != value}


def _comment(text: str | None, *, required: bool = False) -> dict[str, Any]:
    if text is None or not text.strip():
        if required:
            raise ActionError("a comment must say something: its text is empty")
        return {}
    return {"comment": _text(text)}


# --- what may be kept ------------------------------------------------------------------------------------------------


def _checked(given: Mapping[str, Any], known: Sequence[str], kind: str) -> dict[str, Any]:
    """Give the fields as they are kept.

    Raises:
        ActionError: a field is not known, too long, or empty.
    """
    for name in given:
        if name not in known:
            raise ActionError(f"a local {kind} has no field '{name}'; it has {', '.join(known)}")
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: Any) -> Any:
    if name == "title":
        return _title(value)
    if name in ("labels", "services"):
        return _words(name, value or ())
    if name == "status" and value not in _RANK:
        raise ActionError(f"'status' must be one of {', '.join(_RANK)}, not '{value}'")
    if value is None:
        return None
    if name == "description":
        return _text(value)
    if name == "assignee" and not isinstance(value, Person):
        raise ActionError(f"'assignee' must be a person, not '{value}'")
    if name in ("severity", "team", "service", "project"):
        return _word(name, value)
    return value


def _title(value: Any) -> str:
    title = " ".join(str(value or "").split())
    if not 1 <= len(title) <= _LONGEST_TITLE:
        raise ActionError(f"'title' must have 1 to {_LONGEST_TITLE} characters, not {len(title)}")
    return title


def _text(value: Any) -> str:
    text = str(value)
    if len(text) > _LONGEST_TEXT:
        raise ActionError(f"a text may have {_LONGEST_TEXT:,} characters, not {len(text):,}")
    return text


def _words(name: str, values: Sequence[Any]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(_word(name, value) for value in values))
    if len(words) > _MOST_WORDS:
        raise ActionError(f"'{name}' may hold {_MOST_WORDS} entries, not {len(words)}")
    return words


def _word(name: str, value: Any) -> str:
    word = str(value).strip()
    if not 1 <= len(word) <= _LONGEST_WORD:
        raise ActionError(f"'{name}' takes texts of 1 to {_LONGEST_WORD} characters, not {len(word)}")
    return word


Local = provider("local", LocalOptions, serves=["ticket", "incident"])(LocalDesk)
