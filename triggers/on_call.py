"""Start workflows when somebody else goes on call."""

from __future__ import annotations

from engine.domain import Event
from engine.plugins import Params, trigger


class Changed(Params):
    """Start when somebody else goes on call.

    Example:
        on:
          on_call.changed:
    """


@trigger("on_call.changed", Changed, subject=None, available=False)
def changed(params: Changed, event: Event) -> bool:
    """Fit every change."""
    return True
