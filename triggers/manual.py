"""Start workflows because a person asks for it: `hotwash start`, the API, chat."""

from __future__ import annotations

from typing import Any

from engine.domain import Event
from engine.plugins import Params, trigger


class Manual(Params):
    """Let people start it. The file's `if` is skipped, for a person has decided; `stop_when` is not.

    Example:
        on:
          manual:
    """


def _once_per_subject(params: Manual, event: Event) -> tuple[Any, ...]:
    return (event.subject or event.id,)


@trigger("manual", Manual, subject=None, key=_once_per_subject, own_may_start=True, available=False)
def manual(params: Manual, event: Event) -> bool:
    """Fit every request; which workflow it is for is known beforehand."""
    return True
