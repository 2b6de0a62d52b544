"""Declare incidents, bring them forward, merge them, and subscribe to them, as a person does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from engine.application import Application
from engine.domain import Entry, Incident, Person
from engine.operations.base import (
    BadInput,
    Done,
    Inputs,
    Once,
    Refused,
    Somebody,
    act,
    act_as,
    change,
    find_kept,
    make,
    person_of,
)
from engine.plugins import OURSELVES, Effect, Fact
from engine.store.lookups import subject_of
from engine.subjects import UNSUBSCRIBED


class DeclareIncident(Inputs):
    """A new incident, at the connection that `use:` names for incidents."""

    title: str = Field(min_length=1, max_length=300, description="One line.")
    severity: str | None = Field(default=None, max_length=60, description="Such as sev1.")
    services: tuple[str, ...] = Field(default=(), description="Names of the affected services.")
    labels: tuple[str, ...] = Field(default=(), description="Labels.")
    drill: bool = Field(default=False, description="Whether it is an exercise.")
    private: bool = Field(default=False, description="Whether only those concerned may see it.")
    summary: str | None = Field(default=None, max_length=4000, description="What is known so far; begins the timeline.")
    started_at: AwareDatetime | None = Field(default=None, description="When the impact began, where it is known.")
    once: Once = None


class NamedIncident(Inputs):
    """An incident that is there."""

    incident: str = Field(min_length=1, max_length=300, description="Its id or its key.")


class UpdateIncident(NamedIncident):
    """What shall be different about an incident, at the connection that keeps it."""

    title: str | None = Field(default=None, min_length=1, max_length=300, description="One line.")
    severity: str | None = Field(default=None, min_length=1, max_length=60, description="Such as sev1.")
    services: tuple[str, ...] | None = Field(default=None, description="All affected services.")
    labels: tuple[str, ...] | None = Field(default=None, description="All its labels.")


class NoteIncident(NamedIncident):
    """A line for an incident's timeline."""

    text: str = Field(min_length=1, max_length=4000, description="What happened, in Markdown.")


class AssignIncident(NamedIncident):
    """Who shall have a role of an incident."""

    role: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$", description="Name of the role, such as commander.")
    to: Somebody = Field(description="A roster key or an e-mail address.")


class MergeIncident(NamedIncident):
    """Two incidents that are one."""

    into: str = Field(min_length=1, max_length=300, description="The id or the key of the one that is kept.")


class Subscription(NamedIncident):
    """Who wants to be told of an incident, or no longer."""

    people: tuple[str, ...] = Field(
        default=(), description="Roster keys or e-mail addresses; by default whoever asks for it."
    )


async def declare_incident(application: Application, actor: Person, params: DeclareIncident) -> Done:
    """Declare an incident."""
    _not_in_the_future(application, params.started_at)
    inputs = params.model_dump(exclude={"once"}, exclude_none=True)
    incident, changed = await make(application, actor, "incident.declare", inputs, params.once)
    word = "is declared" if changed else "is declared already"
    return Done(f"{incident.key} {word}: {incident.title}", {"incident": incident})


async def acknowledge_incident(application: Application, actor: Person, params: NamedIncident) -> Done:
    """Say that somebody is on it."""
    return await _bring(application, actor, params, "acknowledged", "acknowledged")


async def mitigate_incident(application: Application, actor: Person, params: NamedIncident) -> Done:
    """Say that the impact has ended."""
    return await _bring(application, actor, params, "mitigated", "mitigated")


async def resolve_incident(application: Application, actor: Person, params: NamedIncident) -> Done:
    """Say that it is over."""
    return await _bring(application, actor, params, "resolved", "resolved")


async def reopen_incident(application: Application, actor: Person, params: NamedIncident) -> Done:
    """Say that it is not over after all; of one that was merged, that it is not the same as the other."""
    async with application.operating:
        found = _find(application, params.incident)
        if found.merged_into is not None and found.status != "resolved":
            return await _part(application, actor, found)
    return await _bring(application, actor, params, "declared", "open again")


async def update_incident(application: Application, actor: Person, params: UpdateIncident) -> Done:
    """Change an incident's title, severity, services or labels."""
    changes = params.model_dump(exclude={"incident"}, exclude_none=True)
    if not changes:
        raise BadInput("nothing to change: give a title, severity, services or labels")
    incident, changed = await change(application, actor, "incident.update", "incident", params.incident, changes)
    said = ", ".join(f"{name} {_shown(value)}" for name, value in changes.items())
    return Done(f"{incident.key} {'has now' if changed else 'had already'} {said}", {"incident": incident})


async def note_incident(application: Application, actor: Person, params: NoteIncident) -> Done:
    """Add a line to an incident's timeline."""
    found = _find(application, params.incident)
    await act_as(application, actor, "incident.note", incident=found, text=params.text)
    return Done(f"{found.key} has the note", {"incident": found})


async def assign_incident(application: Application, actor: Person, params: AssignIncident) -> Done:
    """Give a role of an incident to somebody."""
    person, found = person_of(application, params.to), _find(application, params.incident)
    incident, _ = await act_as(application, actor, "incident.assign", incident=found, role=params.role, to=person)
    return Done(f"{person.name} is {params.role.replace('_', ' ')} of {found.key}", {"incident": incident})


async def merge_incident(application: Application, actor: Person, params: MergeIncident) -> Done:
    """Close an incident as a duplicate of another."""
    async with application.operating:
        duplicate, kept = _find(application, params.incident), _find(application, params.into)
        _, changed = await act_as(application, actor, "incident.merge", incident=duplicate, into=kept)
    word = "is" if changed else "was already"
    return Done(f"{duplicate.key} {word} merged into {kept.key}: {kept.title}", {"incident": kept})


async def subscribe_incident(application: Application, actor: Person, params: Subscription) -> Done:
    """Put people among those who are told of an incident."""
    people = _people(application, actor, params.people)
    async with application.operating:
        found = _find(application, params.incident)
        incident, changed = await act_as(application, actor, "incident.subscribe", incident=found, people=people)
    word = "tells" if changed else "told already"
    return Done(f"{incident.key} {word} {_names(people)}", {"incident": incident})


async def unsubscribe_incident(application: Application, actor: Person, params: Subscription) -> Done:
    """Take people from those who are told of an incident."""
    people = _people(application, actor, params.people)
    async with application.operating:
        found = _find(application, params.incident)
        join = application.hub.directory.people.join
        gone = tuple(one for one in found.subscribers if join(one).id in {person.id for person in people})
        if gone:
            await _say(application, actor, found, UNSUBSCRIBED, {"subscribers": gone}, own=True)
        incident = _find(application, found.id)
    word = "no longer tells" if gone else "did not tell"
    return Done(f"{found.key} {word} {_names(people)}", {"incident": incident})


async def _part(application: Application, actor: Person, found: Incident) -> Done:
    other = _find(application, str(found.merged_into))
    note = f"No longer merged into {other.key}"
    await _say(application, actor, found, "incident.updated", {"merged_into": None}, note=note)
    message = f"{found.key} is open again, and no longer merged into {other.key}"
    return Done(message, {"incident": _find(application, found.id)})


async def _say(
    application: Application,
    actor: Person,
    about: Incident,
    kind: str,
    fields: Mapping[str, Any],
    *,
    own: bool = False,
    note: str | None = None,
) -> None:
    """Say something about the fields that the engine owns."""

    async def say(effect: Effect) -> None:
        entry = Entry(effect.at, note, by=actor) if note else None
        subject = ("incident", about.id, fields)
        fact = Fact(kind, effect.at, *subject, actor=actor, own=own, engine=True, note=entry)
        effect.emit(OURSELVES, fact)

    await act(application, actor, kind, say)


def _find(application: Application, ref: str) -> Incident:
    row = find_kept(application, "incident", ref)
    incident: Incident = subject_of("incident", json.loads(row["state"]))
    return incident


def _people(application: Application, actor: Person, named: Sequence[str]) -> list[Person]:
    """Give the people who are named, else whoever acts.

    Raises:
        NotFound: somebody is not in the roster.
        Refused: nobody is named, and whoever acts is not in the roster.
    """
    if named:
        return [person_of(application, name) for name in named]
    if not actor.known:
        raise Refused(f"'{actor.name}' is not in the roster: name whom to tell")
    return [actor]


async def _bring(application: Application, actor: Person, params: NamedIncident, status: str, word: str) -> Done:
    def new_status(found: Incident) -> Mapping[str, Any]:
        if status == "declared" and found.status != "resolved":
            raise Refused(f"{found.key} is {found.status}: only one that is resolved can be reopened")
        return {"status": status}

    incident, changed = await change(application, actor, "incident.update", "incident", params.incident, new_status)
    message = f"{incident.key} is {word}" if changed else f"{incident.key} was {word} already"
    return Done(message, {"incident": incident})


def _not_in_the_future(application: Application, started_at: datetime | None) -> None:
    if started_at is not None and started_at > application.clock.now():
        raise Refused(f"the impact cannot have begun in the future: {started_at.isoformat()}")


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"'{value}'" if " " in value else str(value)


def _names(people: Sequence[Person]) -> str:
    return ", ".join(person.name for person in people)
