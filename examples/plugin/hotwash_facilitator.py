"""Pick who facilitates a review, so that it is not always the same person and never the one who led the incident."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from engine import domain
from engine.plugins import ActionError, Context, EffectClass, Field, Params, Person, action


class PickFacilitator(Params):
    """Pick somebody, at random but the same one however often the step is tried.

    Example:
        uses: facilitator.pick
        with:
          among: [ada, grace, linus]
          leave_out: ${{ incident.roles.commander }}
    """

    among: list[Person] = Field(min_length=1, description="Whom to pick from.")
    leave_out: Person | None = Field(default=None, description="Somebody who shall not be picked.")


@dataclass(frozen=True, slots=True)
class Picked:
    person: domain.Person = field(metadata={"doc": "Who was picked."})


@action("facilitator.pick", PickFacilitator, returns=Picked, lasts=True, via=None, effect=EffectClass.READ)
async def pick(params: PickFacilitator, ctx: Context) -> Picked:
    """Order people by a hash of the effect's identity, which no retry and no restart changes."""
    left = [one for one in params.among if params.leave_out is None or one.id != params.leave_out.id]
    if not left:
        raise ActionError("there is nobody left to pick from")
    return Picked(min(left, key=lambda one: hashlib.sha256(f"{ctx.effect.token}/{one.id}".encode()).digest()))
