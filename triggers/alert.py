"""Start workflows when an alert begins to fire, and when it stops."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from engine.domain import Event
from engine.plugins import Duration, Field, Params, trigger
from triggers import states


class _State(Params):
    model_config = ConfigDict(populate_by_name=True)

    for_: Duration | None = Field(default=None, alias="for", description="How long it must have stayed in this state.")


class Firing(_State):
    """Start when an alert begins to fire.

    Example:
        on:
          alert.firing: {for: 10m}
    """


class Resolved(_State):
    """Start when an alert no longer fires.

    Example:
        on:
          alert.resolved: {for: 1h}
    """


def _once_per_firing(params: _State, event: Event) -> tuple[Any, ...]:
    alert = event.after or {}
    return (alert.get("fingerprint") or event.subject, states.instant_text(alert.get("started_at")))


@trigger("alert.firing", Firing, subject="alert", left_by=("alert.resolved",), key=_once_per_firing)
def firing(params: Firing, event: Event) -> bool:
    """Fit every alert."""
    return True


@trigger("alert.resolved", Resolved, subject="alert", left_by=("alert.firing",), key=_once_per_firing)
def resolved(params: Resolved, event: Event) -> bool:
    """Fit every alert."""
    return True
