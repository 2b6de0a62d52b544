"""Declare incidents, bring them forward, merge them, and subscribe to them, as a person does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from engine.application import Application
from engine.domain import Entry, Incident, Person
from engine.operations.base import Done, Inputs, Refused, act, act_as, find_kept, find_subject, person_of
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


class NamedIncident(Inputs):
    """An incident that is there."""

    incident: str = Field(min_length=1, max_length=300, description="Its id or its key.")


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
    incident, _ = await act(
        application,
        actor,
        "declare_incident",
        lambda effect: application.hub.serve("incident", None)[1].declare(
            params.title,
            severity=params.severity,
            services=params.services,
            labels=params.labels,
            drill=params.drill,
            private=params.private,
            summary=params.summary,
            started_at=params.started_at,
            effect=effect,
        ),
    )
    return Done(f"{incident.key} is declared: {incident.title}", {"incident": incident})


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
    async with application.operating:
        kept = find_subject(application, "incident", params.incident, "update")
        found: Incident = kept.record
        if status == "declared" and found.status != "resolved":
            raise Refused(f"{found.key} is {found.status}: only one that is resolved can be reopened")
        incident, changed = await act(
            application,
            actor,
            f"{status}_incident",
            lambda effect: kept.provider.update(found.id, {"status": status}, effect=effect),
        )
    message = f"{incident.key} is {word}" if changed else f"{incident.key} was {word} already"
    return Done(message, {"incident": incident})


def _not_in_the_future(application: Application, started_at: datetime | None) -> None:
    if started_at is not None and started_at > application.clock.now():
        raise Refused(f"the impact cannot have begun in the future: {started_at.isoformat()}")


def _names(people: Sequence[Person]) -> str:
    return ", ".join(person.name for person in people)
