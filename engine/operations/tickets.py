"""File tickets, comment on them, hand them to somebody, close and reopen them, as a person does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field

from engine.application import Application
from engine.calendars import add, parse_duration
from engine.domain import Person
from engine.operations.base import (
    BadInput,
    Done,
    Inputs,
    NotFound,
    Once,
    Somebody,
    change,
    make,
    person_of,
)
from engine.store.lookups import Lookups

_END_OF_DAY = time(23, 59, 59)


class CreateTicket(Inputs):
    """A new ticket, at the connection that `use:` names for tickets."""

    title: str = Field(min_length=1, max_length=300, description="One line.")
    description: str = Field(default="", max_length=64 * 1024, description="The long text, in Markdown.")
    labels: tuple[str, ...] = Field(default=(), description="Labels.")
    project: str | None = Field(default=None, description="The project to file it under.")
    service: str | None = Field(default=None, description="Name of the service it is about.")
    team: str | None = Field(default=None, description="Name of the team; by default its assignee's.")
    assignee: Somebody | None = Field(default=None, description="Who works on it: a roster key or an e-mail address.")
    due: str | None = Field(
        default=None, description="An instant with its zone, a date (the end of that day), or so long from now: 5bd."
    )
    incident: str | None = Field(default=None, description="The incident it comes of, by its id or its key.")
    once: Once = None


class NamedTicket(Inputs):
    """A ticket that is there."""

    ticket: str = Field(min_length=1, max_length=300, description="Its id or its key.")


class CommentTicket(NamedTicket):
    """A comment on a ticket."""

    text: str = Field(min_length=1, max_length=64 * 1024, description="The comment, in Markdown.")


class AssignTicket(NamedTicket):
    """Who shall work on a ticket."""

    to: str = Field(min_length=1, max_length=300, description="A roster key or an e-mail address.")


class TurnTicket(NamedTicket):
    """A ticket to close or to reopen."""

    comment: str | None = Field(default=None, max_length=64 * 1024, description="Why, in Markdown.")


async def create_ticket(application: Application, actor: Person, params: CreateTicket) -> Done:
    """File a ticket."""
    inputs = params.model_dump(exclude={"once", "assignee", "due", "incident"}, exclude_none=True)
    if params.assignee:
        inputs["assignee"] = person_of(application, params.assignee)
    if params.due:
        inputs["due"] = _due(params.due, application)
    if params.incident:
        inputs["incident"] = _incident(application.hub.lookups(), params.incident)
    ticket, changed = await make(application, actor, "ticket.create", inputs, params.once)
    return Done(f"{ticket.key} is filed{'' if changed else ' already'}: {ticket.title}", {"ticket": ticket})


async def comment_ticket(application: Application, actor: Person, params: CommentTicket) -> Done:
    """Comment on a ticket."""
    return await _change(application, actor, params, "comment", "has the comment", {"text": params.text})


async def assign_ticket(application: Application, actor: Person, params: AssignTicket) -> Done:
    """Hand a ticket to somebody."""
    person = person_of(application, params.to)
    return await _change(application, actor, params, "update", f"is {person.name}'s", {"assignee": person})


async def close_ticket(application: Application, actor: Person, params: TurnTicket) -> Done:
    """Close a ticket."""
    return await _change(application, actor, params, "close", "is closed", {"comment": params.comment})


async def reopen_ticket(application: Application, actor: Person, params: TurnTicket) -> Done:
    """Reopen a ticket."""
    return await _change(application, actor, params, "reopen", "is open again", {"comment": params.comment})


async def _change(
    application: Application, actor: Person, params: NamedTicket, method: str, word: str, inputs: Mapping[str, Any]
) -> Done:
    given = {name: value for name, value in inputs.items() if value is not None}
    ticket, changed = await change(application, actor, f"ticket.{method}", "ticket", params.ticket, given)
    return Done(f"{ticket.key} {word}" + ("" if changed else " already"), {"ticket": ticket})


def _incident(world: Lookups, ref: str) -> str:
    """Give the id of an incident, whichever connection keeps it."""
    found = world.subject("incident", ref.strip()) or world.subject("incident", ref.strip().upper())
    if found is None:
        raise NotFound(f"no incident is called '{ref}'")
    return str(found.id)


def _due(text: str, application: Application) -> datetime:
    config = application.config
    with suppress(ValueError):
        return add(application.clock.now(), parse_duration(text), config.default_calendar)
    try:
        if len(text) == len("2026-03-02"):
            return datetime.combine(date.fromisoformat(text), _END_OF_DAY, ZoneInfo(config.timezone)).astimezone(UTC)
        instant = datetime.fromisoformat(text)
    except ValueError:
        allowed = "a date such as 2026-03-02, a duration such as 5bd, or an instant with its zone"
        raise BadInput(f"'due' must be {allowed}, not '{text}'") from None
    if instant.tzinfo is None:
        raise BadInput(f"'due' must say its time zone, such as {text}+01:00, or be a date such as 2026-03-02")
    return instant.astimezone(UTC)
