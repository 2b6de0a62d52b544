"""Look after the database: remove what is older than it has to be."""

from __future__ import annotations

from pydantic import Field, field_validator

from engine.application import Application
from engine.calendars import Duration, parse_duration
from engine.domain import Person
from engine.operations.base import Done, Inputs
from engine.store.retention import NAMES, told

#: Seconds after which an answer is given although there is more to do, so that whoever asked does not give up.
SECONDS = 20.0


class Prune(Inputs):
    """What is to go."""

    older_than: str | None = Field(
        default=None, max_length=100, description="Everything older than this, in place of what 'retention' says."
    )
    dry_run: bool = Field(default=False, description="Say what would go, and change nothing.")

    @field_validator("older_than")
    @classmethod
    def _of_one_kind(cls, text: str | None) -> str | None:
        value = parse_duration(text) if text is not None else Duration(1.0)
        if value.business_days or bool(value.seconds) == bool(value.months):
            raise ValueError(f"must be a duration such as 12h, 30d or P1M, not '{text}'")
        return text


async def prune(application: Application, actor: Person, params: Prune) -> Done:
    """Remove the bodies of what is old; identities stay, so that nothing happens twice.

    `removed` has an entry for each kind: `kind what rows before`. Where `finished` is false there is more to do.
    """
    length = parse_duration(params.older_than) if params.older_than is not None else None
    found = await application.forgetting.now(length, dry_run=params.dry_run, seconds=SECONDS)
    parts = [
        {"kind": part.kind, "what": NAMES[part.kind], "rows": part.rows, "before": part.before} for part in found.parts
    ]
    if found.rows and not params.dry_run:
        application.tell("store.pruned", f"pruned by {actor.name}: {told(found)}")
    sentence = f"{told(found)} {'would be' if params.dry_run else 'are'} removed"
    return Done(sentence, {"removed": parts, "dry_run": params.dry_run, "finished": found.finished})
