"""Start workflows when an incident is declared, acknowledged, mitigated, resolved, reopened, or changes otherwise.

The engine finds these transitions itself, by comparing what a source says with the state it has stored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict

from engine.domain import Event
from engine.plugins import Duration, Field, Params, trigger


def _as_written(value: Any) -> Any:
    """Take the YAML word `no` for what it says where a reader made it false."""
    return "no" if value is False else value


class _Incident(Params):
    private: Annotated[Literal["no", "only", "both"], BeforeValidator(_as_written)] = Field(
        default="no",
        description="Whether private incidents start this workflow: no, only they, or both.",
        json_schema_extra={"x-available": False},
    )
    own: bool = Field(default=False, description="Whether what our own accounts do starts it too.")


class _State(_Incident):
    model_config = ConfigDict(populate_by_name=True)

    for_: Duration | None = Field(default=None, alias="for", description="How long it must have stayed in this state.")


class Declared(_State):
    """Start when an incident is declared.

    Example:
        on:
          incident.declared:
    """


class Acknowledged(_State):
    """Start when somebody has taken an incident.

    Example:
        on:
          incident.acknowledged:
    """


class Mitigated(_State):
    """Start when an incident no longer hurts.

    Example:
        on:
          incident.mitigated: {for: 1h}
    """


class Resolved(_State):
    """Start when an incident is resolved.

    Example:
        on:
          incident.resolved: {for: 15m}
    """


class Reopened(_Incident):
    """Start each time a resolved incident is opened again.

    Example:
        on:
          incident.reopened:
    """


class Updated(_Incident):
    """Start each time an incident changes otherwise: its title, severity, services, a note.

    Example:
        on:
          incident.updated:
    """


class Quiet(Params):
    """Start when nobody has done anything about an open incident for a while.

    Example:
        on:
          incident.quiet: {for: 45m}
    """

    model_config = ConfigDict(populate_by_name=True)

    for_: Duration = Field(alias="for", description="How long its timeline has had no entry by a person.")


def _once_per_incident(params: _State, event: Event) -> tuple[Any, ...]:
    return (event.type, event.subject)


def _wanted(params: _Incident, event: Event) -> bool:
    private = bool((event.after or {}).get("private"))
    return params.private == "both" or private == (params.private == "only")


@trigger(
    "incident.declared",
    Declared,
    subject="incident",
    left_by=("incident.acknowledged", "incident.mitigated", "incident.resolved"),
    key=_once_per_incident,
)
def declared(params: Declared, event: Event) -> bool:
    """Fit incidents that are as private as the workflow asks for; so do all of these."""
    return _wanted(params, event)


@trigger(
    "incident.acknowledged",
    Acknowledged,
    subject="incident",
    left_by=("incident.mitigated", "incident.resolved"),
    key=_once_per_incident,
)
def acknowledged(params: Acknowledged, event: Event) -> bool:
    """Fit incidents that somebody has taken, and as private as the workflow asks for."""
    return _wanted(params, event)


@trigger(
    "incident.mitigated",
    Mitigated,
    subject="incident",
    left_by=("incident.resolved", "incident.reopened"),
    key=_once_per_incident,
)
def mitigated(params: Mitigated, event: Event) -> bool:
    """Fit incidents that no longer hurt, and as private as the workflow asks for."""
    return _wanted(params, event)


@trigger(
    "incident.resolved",
    Resolved,
    subject="incident",
    left_by=("incident.reopened",),
    key=_once_per_incident,
)
def resolved(params: Resolved, event: Event) -> bool:
    """Fit incidents that are resolved, and as private as the workflow asks for."""
    return _wanted(params, event)


@trigger("incident.reopened", Reopened, subject="incident")
def reopened(params: Reopened, event: Event) -> bool:
    """Fit incidents that are opened again, and as private as the workflow asks for."""
    return _wanted(params, event)


@trigger("incident.updated", Updated, subject="incident")
def updated(params: Updated, event: Event) -> bool:
    """Fit incidents that changed otherwise, and as private as the workflow asks for."""
    return _wanted(params, event)


@trigger("incident.quiet", Quiet, subject="incident", available=False)
def quiet(params: Quiet, event: Event) -> bool:
    """Fit every incident that nobody has touched."""
    return True
