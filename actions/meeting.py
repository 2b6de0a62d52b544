"""Bring people together by video: open a meeting that everybody can join at once, and end it."""

from __future__ import annotations

from actions.incident import named_incident
from engine.domain import Incident, Meeting
from engine.plugins import (
    ActionError,
    Context,
    Field,
    IncidentRef,
    MeetingRef,
    Params,
    Person,
    action,
)

_MEETING = "The meeting, or its id; by default the one that the run's incident has."


class CreateMeeting(Params):
    """Open a meeting, such as the bridge of an incident. The incident's `meeting` then is this one.

    Example:
        uses: meeting.create
        with:
          title: "${{ incident.key }} ${{ incident.title }}"
    """

    title: str = Field(min_length=1, max_length=300, description="What it is called.")
    people: list[Person] = Field(
        default=[], description="Who is invited, where the service invites; all others join by the link."
    )
    incident: IncidentRef | None = Field(default=None, description="What it is for; by default the run's incident.")


@action("meeting.create", CreateMeeting, returns=Meeting, lasts=True)
async def create(params: CreateMeeting, ctx: Context) -> Meeting:
    """Hand it to the service that holds meetings."""
    incident = ctx.incident if params.incident is None else await named_incident(params.incident, ctx)
    people = list({person.id: person for person in map(ctx.people.join, params.people)}.values())
    return await ctx.meetings.create(
        params.title,
        people=people,
        incident=incident.id if incident else None,
        private=incident is not None and ctx.is_private(incident.id),
        effect=ctx.effect,
    )


class EndMeeting(Params):
    """End a meeting, as far as the service lets it be ended. One that was ended stays so.

    Example:
        uses: meeting.end
    """

    meeting: MeetingRef | None = Field(default=None, description=_MEETING)


@action("meeting.end", EndMeeting, returns=Meeting, lasts=False)
async def end(params: EndMeeting, ctx: Context) -> Meeting:
    """Hand it to the service that holds the meeting."""
    return await ctx.meetings.end(_name(params.meeting, ctx.incident), effect=ctx.effect)


def _name(ref: Meeting | str | None, incident: Incident | None) -> str:
    """Give the id of the named meeting, or of the one that the run's incident has."""
    if ref is not None:
        return ref.id if isinstance(ref, Meeting) else ref.strip()
    if incident is not None and incident.meeting is not None:
        return incident.meeting.id
    what = f"{incident.key} has no meeting" if incident else "the run is about no incident"
    raise ActionError(f"{what}: name one with 'meeting'", code="not-found")


ALL = (create, end)
