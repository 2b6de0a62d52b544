"""Start workflows by any JSON that somebody posts to a connection of the provider `generic`."""

from __future__ import annotations

from engine.domain import Event
from engine.plugins import Field, Params, trigger


class Webhook(Params):
    """Start when a signed JSON document is posted to `/hooks/NAME`. The workflow reads it as `event.data`.

    Example:
        on:
          webhook: {name: deploys}
    """

    name: str | None = Field(
        default=None,
        description="The connection it comes in by; by default any of the provider `generic`.",
        json_schema_extra={"x-kind": "connection"},
    )


@trigger("webhook", Webhook, subject=None, own_may_start=True)
def webhook(params: Webhook, event: Event) -> bool:
    """Fit what came in by the connection."""
    return params.name in (None, event.source)
