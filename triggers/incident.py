"""Start workflows when an incident is declared, acknowledged, mitigated, resolved, reopened, changes, or goes quiet.

The engine finds these transitions itself, by comparing what a source says with the state it has stored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, field_validator

from engine import calendars, domain
from engine.domain import Event, Incident
from engine.plugins import Check, Discreet, Due, Duration, Fact, Field, Look, trigger
from triggers import states

#: At most so many runs are started by one look: those that have been quiet for longest.
_RUNS_PER_LOOK = 25


class _Incident(Discreet):
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


class Marked(_Incident):
    """Start when somebody marks a message in an incident's channel, as by a reaction; once for each message and mark.

    Example:
        on:
          incident.marked: {mark: action_item}
    """

    mark: Literal["timeline", "opportunity", "action_item"] | None = Field(
        default=None, description="Which mark; null is any."
    )


class Quiet(Discreet):
    """Start when nobody has done anything about an open incident for a while.

    Quiet counts from the last thing that a person did about it (a transition, a note, a change), else from its
    declaration, as `incident.idle` does. What our own accounts do does not count.

    Example:
        on:
          incident.quiet: {for: 45m}
    """

    model_config = ConfigDict(populate_by_name=True)

    for_: Duration = Field(alias="for", description="How long its timeline has had no entry by a person.")

    @field_validator("for_")
    @classmethod
    def _some_time(cls, value: Duration) -> Duration:
        if value == calendars.Duration():
            raise ValueError("must be longer than nothing, such as 45m or 1bd")
        return value


def _once_per_incident(params: _State, event: Event) -> tuple[Any, ...]:
    return (event.type, event.subject)


@trigger(
    "incident.declared",
    Declared,
    subject="incident",
    left_by=("incident.acknowledged", "incident.mitigated", "incident.resolved"),
    key=_once_per_incident,
)
def declared(params: Declared, event: Event) -> bool:
    """Fit every incident: how private it may be is held against `private` before."""
    return True


@trigger(
    "incident.acknowledged",
    Acknowledged,
    subject="incident",
    left_by=("incident.mitigated", "incident.resolved"),
    key=_once_per_incident,
)
def acknowledged(params: Acknowledged, event: Event) -> bool:
    """Fit incidents that somebody has taken."""
    return True


@trigger(
    "incident.mitigated",
    Mitigated,
    subject="incident",
    left_by=("incident.resolved", "incident.reopened"),
    key=_once_per_incident,
)
def mitigated(params: Mitigated, event: Event) -> bool:
    """Fit incidents that no longer hurt."""
    return True


@trigger(
    "incident.resolved",
    Resolved,
    subject="incident",
    left_by=("incident.reopened",),
    key=_once_per_incident,
)
def resolved(params: Resolved, event: Event) -> bool:
    """Fit incidents that are resolved."""
    return True


@trigger("incident.reopened", Reopened, subject="incident")
def reopened(params: Reopened, event: Event) -> bool:
    """Fit incidents that are opened again."""
    return True


@trigger("incident.updated", Updated, subject="incident")
def updated(params: Updated, event: Event) -> bool:
    """Fit incidents that changed otherwise."""
    return True


@trigger(
    "incident.marked",
    Marked,
    subject="incident",
    data={
        "mark": domain.Field("text", "timeline, opportunity or action_item."),
        "text": domain.Field("text", "What the message says."),
        "author": domain.Field("person", "Who wrote it."),
        "url": domain.Field("text", "Where it is."),
        "entry": domain.Field("text", "Its id in the timeline."),
    },
    key=lambda params, event: (event.subject, event.data.get("entry"), event.data.get("mark")),
)
def marked(params: Marked, event: Event) -> bool:
    """Fit messages that are marked as asked for."""
    return params.mark in (None, event.data.get("mark"))


# --- quiet -----------------------------------------------------------------------------------------------------------


async def _quiet_incidents(params: Quiet, check: Check) -> Look:
    """Find the open incidents that are quiet, for longest first, and when the next of the others will be."""
    found: list[tuple[datetime, Due]] = []
    ahead: list[datetime] = []
    async for incident in check.open_incidents():
        since = _since(incident)
        if since is None or not params.asks_for(incident.private):
            continue
        quiet_at = calendars.add(since, params.for_, check.calendar)
        if quiet_at > check.now:
            ahead.append(quiet_at)
        else:
            found.append((since, _due(incident, since, quiet_at)))
    found.sort(key=lambda pair: (pair[0], str(pair[1].key)))
    return Look([due for _, due in found], min(ahead, default=None))


def _since(incident: Incident) -> datetime | None:
    known = [instant for instant in (incident.active_at, incident.declared_at) if instant is not None]
    return max(known, default=None)


def _due(incident: Incident, since: datetime, quiet_at: datetime) -> Due:
    fact = Fact(
        "incident.quiet",
        quiet_at,
        subject_type="incident",
        subject=incident.id,
        data={"idle_since": since},
        engine=True,  # a finding of ours: it must not pass for the newest word of the source
    )
    return Due(fact, _key(incident.id, since))


def _key(incident: str | None, since: Any) -> tuple[Any, ...]:
    return (incident, states.instant_text(since))


def _once_per_stretch(params: Quiet, event: Event) -> tuple[Any, ...]:
    return _key(event.subject, event.data.get("idle_since"))


def _quiet_by(params: Quiet, event: Event, hours: calendars.Calendar) -> datetime:
    """Give when an incident may go quiet that an event has opened."""
    return calendars.add(event.time, params.for_, hours)


@trigger(
    "incident.quiet",
    Quiet,
    subject="incident",
    data={"idle_since": domain.Field("instant", "When somebody last did something about it.")},
    key=_once_per_stretch,
    look=_quiet_incidents,
    limit=lambda params: _RUNS_PER_LOOK,
    stirred_by=(
        "incident.declared",
        "incident.acknowledged",
        "incident.mitigated",
        "incident.reopened",
        "incident.updated",
    ),
    stirs=_quiet_by,
    own_may_start=True,
)
def quiet(params: Quiet, event: Event) -> bool:
    """Fit what its own look has found."""
    return True
