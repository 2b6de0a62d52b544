"""Start workflows because a person asks for it: `hotwash start`, the API, chat."""

from __future__ import annotations

from typing import Any

from engine.domain import Event, Field
from engine.plugins import Params, trigger


class Manual(Params):
    """Let people start it by hand (`hotwash start`). `if` is skipped, for a person has decided; `stop_when` is not.

    Which incident or ticket it is about, and what the file's `inputs` take, is said with the command.

    Example:
        on:
          manual:
    """


def _once_per_subject(params: Manual, event: Event) -> tuple[Any, ...]:
    return (event.subject or event.id,)


_DATA = {
    "workflow": Field("text", "The workflow that was started."),
    "inputs": Field("any", "The inputs it was started with."),
}


@trigger("manual", Manual, subject=None, data=_DATA, key=_once_per_subject, own_may_start=True)
def manual(params: Manual, event: Event) -> bool:
    """Fit every request; which workflow it is for is known beforehand."""
    return True
