"""Start workflows when somebody else goes on call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from engine import domain
from engine.capabilities import People, Shift
from engine.domain import Event, Person
from engine.plugins import Check, Due, Fact, Field, Look, Params, trigger
from triggers import states

#: How often a plan is looked at that may be changed at any time.
_EVERY = timedelta(minutes=5)
_TICK = timedelta(microseconds=1)


class Changed(Params):
    """Start when somebody else goes on call.

    Example:
        on:
          on_call.changed: {team: sre}
    """

    rotation: str | None = Field(default=None, description="Only this rotation.")
    team: str | None = Field(
        default=None, description="Only the rotation of this team.", json_schema_extra={"x-kind": "team"}
    )
    service: str | None = Field(
        default=None, description="Only the rotation of this service.", json_schema_extra={"x-kind": "service"}
    )


async def _changes(params: object, check: Check) -> Look:
    """Give the rotations in which somebody else is on call than at the look before, each with its newest change only.

    The first sight of a rotation is no change. Where the plan itself was changed, it happens when that is seen.
    """
    looked = datetime.fromisoformat(check.cursor["at"]) if check.cursor else check.now
    if looked > check.now:  # the clock was set back
        return Look(next=looked, cursor=check.cursor)
    known: Mapping[str, Any] = check.cursor["people"] if check.cursor else {}
    shifts = await check.on_call.shifts(check.now)
    found = [
        _due(shift, before, at, check.people)
        for shift in shifts
        if shift.rotation in known
        for before, at in [await _before(shift, known[shift.rotation], looked, check)]
        if _id(before) != _id(shift.person)
    ]
    ends = [shift.end for shift in shifts if shift.end is not None]
    ends += [check.now + _EVERY] if any(not shift.firm for shift in shifts) else []
    people = {shift.rotation: _kept(shift.person) for shift in shifts}
    cursor = {"at": check.now.astimezone(UTC).isoformat(), "people": people}
    return Look(found, min(ends, default=None), cursor)


async def _before(
    shift: Shift, known: Mapping[str, Any] | None, looked: datetime, check: Check
) -> tuple[Person | None, datetime]:
    """Give who was on call before a shift, and since when it is so."""
    if shift.start is None or shift.start <= looked:
        return check.people.join(Person(**known)) if known is not None else None, check.now
    earlier = await check.on_call.shifts(shift.start - _TICK)
    return next((one.person for one in earlier if one.rotation == shift.rotation), None), shift.start


def _due(shift: Shift, before: Person | None, at: datetime, people: People) -> Due:
    teams, services = _served(shift.rotation, people)
    data = {"rotation": shift.rotation, "before": before, "after": shift.person, "teams": teams, "services": services}
    return Due(Fact("on_call.changed", at, data=data), _key(shift.rotation, at))


def _served(rotation: str, people: People) -> tuple[Sequence[str], Sequence[str]]:
    """Give the teams and services whose rotation it is, as `on_call()` finds it for them."""
    own = {team.id: team.rotation or "default" for team in people.teams()}
    services = {one.id: one.rotation or own.get(one.team or "", "default") for one in people.services()}
    return (
        [name for name, served in own.items() if served == rotation],
        [name for name, served in services.items() if served == rotation],
    )


def _id(person: Person | None) -> str | None:
    return person.id if person is not None else None


def _kept(person: Person | None) -> dict[str, Any] | None:
    return {"id": person.id, "name": person.name, "email": person.email} if person is not None else None


def _key(rotation: Any, at: Any) -> tuple[Any, ...]:
    return (rotation, states.instant_text(at))


def _once_per_change(params: Changed, event: Event) -> tuple[Any, ...]:
    return _key(event.data.get("rotation"), event.time)


@trigger(
    "on_call.changed",
    Changed,
    subject=None,
    data={
        "rotation": domain.Field("text", "The rotation."),
        "before": domain.Field("person", "Who was on call before."),
        "after": domain.Field("person", "Who is on call now."),
        "teams": domain.Field("list[text]", "Names of the teams whose rotation it is."),
        "services": domain.Field("list[text]", "Names of the services whose rotation it is."),
    },
    key=_once_per_change,
    look=_changes,
    watches="on_call.shifts",
)
def changed(params: Changed, event: Event) -> bool:
    """Fit the changes of the rotation, the team's or the service's."""
    data = event.data
    return (
        params.rotation in (None, data.get("rotation"))
        and (params.team is None or params.team in data.get("teams", ()))
        and (params.service is None or params.service in data.get("services", ()))
    )
