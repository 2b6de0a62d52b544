"""Declare incidents and bring them forward, as a person does."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, Field

from engine.application import Application
from engine.domain import Incident, Person
from engine.operations.base import Done, Inputs, Refused, act, find_subject


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
    """Say that it is not over after all."""
    return await _bring(application, actor, params, "declared", "open again")


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
