"""Start workflows when a document is published."""

from __future__ import annotations

from pathlib import PurePosixPath

from engine.domain import Event
from engine.plugins import Discreet, Field, trigger


class Published(Discreet):
    """Start when a document is no longer a draft, and when it is published again with another content.

    What we write into it ourselves does not count.

    Example:
        on:
          document.published: {template: postmortem}
    """

    template: str | None = Field(default=None, description="Only documents made from this template.")
    under: str | None = Field(default=None, description="Only documents in this folder, or in one below it.")


def _lies_under(folder: str, path: object) -> bool:
    if not isinstance(path, str):
        return False
    return PurePosixPath(path).parent.is_relative_to(PurePosixPath(folder))


@trigger("document.published", Published, subject="document")
def published(params: Published, event: Event) -> bool:
    """Fit documents of the template and the folder."""
    document = event.after or {}
    return params.template in (None, document.get("template")) and (
        params.under is None or _lies_under(params.under, document.get("path"))
    )
