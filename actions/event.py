"""Emit events of one's own, which other workflows may listen to."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from engine import domain
from engine.plugins import OURSELVES, Context, EffectClass, Fact, Field, Params, action

_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
#: First words of the events that the engine itself derives: nobody may pretend that one of these happened.
_RESERVED = frozenset(domain.SUBJECTS) | {
    "chat",
    "hotwash",
    "manual",
    "on_call",
    "run",
    "schedule",
    "step",
    "webhook",
    "workflow",
}
_SUBJECT_TYPES = {cls: name for name, cls in domain.SUBJECTS.items()}


def _own_type(text: str) -> str:
    if not _TYPE.fullmatch(text):
        raise ValueError(f"must be words in lower case with dots between, such as deploy.finished, not '{text}'")
    first = text.partition(".")[0]
    if first in _RESERVED:
        raise ValueError(
            f"'{first}.…' events are derived by hotwash itself: begin '{text}' with a word of your own, "
            f"such as 'our.{text}'"
        )
    return text


def _subject(value: Any) -> Any:
    if value is None or type(value) in _SUBJECT_TYPES:
        return value
    known = ", ".join(domain.SUBJECTS)
    raise ValueError(f"must be a subject ({known}) from an expression such as ${{{{ incident }}}}, not {value!r:.60}")


class EmitEvent(Params):
    """Emit an event of a type of your own, which starts the workflows that listen to it.

    Example:
        uses: event.emit
        with:
          type: report.prepared
          data:
            document: ${{ steps.doc.url }}
    """

    type: Annotated[str, AfterValidator(_own_type)] = Field(
        max_length=100, description="Such as deploy.finished: at least two words with a dot between."
    )
    data: dict[str, Any] = Field(default={}, description="What `event.data` shall hold.")
    subject: Annotated[
        domain.Subject | None, PlainValidator(_subject), WithJsonSchema({"type": "string", "x-kind": "any"})
    ] = Field(default=None, description="The incident, ticket, alert, document or review it is about.")


@action("event.emit", EmitEvent, returns=None, lasts=False, via=None, effect=EffectClass.OWN_ROWS)
async def emit(params: EmitEvent, ctx: Context) -> None:
    """Write the event in the commit of this effect's result. It changes no subject's state."""
    effect, subject = ctx.effect, params.subject
    effect.emit(
        OURSELVES,
        Fact(
            params.type,
            effect.at,
            subject_type=_SUBJECT_TYPES[type(subject)] if subject else None,
            subject=subject.id if subject else None,
            data=params.data,
            actor=effect.actor,
            engine=True,
        ),
    )
