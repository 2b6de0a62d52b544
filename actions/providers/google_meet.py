"""Google Meet: a bridge is the Meet link of an event of its own in a Google calendar.

Whoever is invited to the event joins at once; others of the Workspace join by the link, and people outside ask to be
let in. The event says when the bridge was opened and, once it is ended, until when; it takes nobody's
time, and only those invited see what it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from actions.providers.google_events import (
    BRIDGE,
    INCIDENT,
    RATE,
    Event,
    Events,
    EventsOptions,
    conference,
    guests,
    instant_of,
    properties_of,
    times,
    video_of,
)
from engine import calendars
from engine.domain import Meeting, Person
from engine.plugins import (
    ActionError,
    Connection,
    Duration,
    Effect,
    Field,
    RetryLater,
    idempotent,
    native,
    provider,
    tell_incident,
)

_ENDED = "hotwash-ended"
_SHORTEST = timedelta(minutes=1)
#: Seconds after which a link that is not made yet is looked for again.
_SOON = 2


class GoogleMeetOptions(EventsOptions):
    """How bridges are opened in Google Meet.

    Example:
        bridge:
          provider: google_meet
          credentials: ${file:google.json}
          subject: hotwash@example.com
    """

    length: Duration = Field(
        default=calendars.Duration(7200),
        description="How long the event in the calendar is until the bridge is ended; the call itself has no end.",
    )


class GoogleMeet:
    """Open bridges in Google Meet, each with an event of its own in a Google calendar."""

    announces = True

    def __init__(self, options: GoogleMeetOptions, connection: Connection) -> None:
        self._length = options.length
        self._name = connection.name
        self._zone = connection.zone
        self._events = Events("Google Calendar", options, connection)

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        return await self._events.check()

    async def aclose(self) -> None:
        """Close the client."""
        await self._events.google.aclose()

    @native
    async def create(
        self, title: str, *, people: Sequence[Person], incident: str | None, private: bool = False, effect: Effect
    ) -> Meeting:
        """Make the event with its link. One that this effect made before is given as it is.

        Raises:
            RetryLater: Google has not made the link yet.
            ActionError: the calendar gives no Meet links.
        """
        body: dict[str, Any] = {
            "summary": " ".join(title.split()),
            "attendees": guests(people),
            "transparency": "transparent",
            "visibility": "private",
            "conferenceData": conference(effect.token),
            **times(effect.at, calendars.add(effect.at, self._length, calendars.WEEKDAYS_9_TO_5), self._zone),
        }
        event = await self._events.insert(effect.token, body, {INCIDENT: incident, BRIDGE: "1"})
        if video_of(event) is None and event.get("status") != "cancelled":
            raise self._no_link(event)
        return self._told(event, effect)

    @idempotent
    async def end(self, meeting: str, *, effect: Effect) -> Meeting:
        """Let the event end now. Who is still in the call stays in it until they leave.

        Raises:
            ActionError: there is no such bridge.
            RetryLater: somebody changed the event at the same time.
        """
        event = await self._events.get(self._local(meeting))
        if event is None:
            raise ActionError(f"connection '{self._name}' has no meeting '{meeting}'", code="not-found")
        if self._read(event).ended_at is None:
            start = instant_of(event, "start") or effect.at
            private = {**properties_of(event), _ENDED: effect.at.isoformat()}
            changes = times(start, max(effect.at, start + _SHORTEST), self._zone)
            event = await self._events.patch(event, {**changes, "extendedProperties": {"private": private}})
        return self._told(event, effect)

    async def get(self, meeting: str) -> Meeting | None:
        """Give a bridge by its id, as the calendar has it now."""
        event = await self._events.get(self._local(meeting))
        return self._read(event) if event is not None else None

    def _no_link(self, event: Event) -> Exception:
        status = ((event.get("conferenceData") or {}).get("createRequest") or {}).get("status") or {}
        if status.get("statusCode") == "pending":
            return RetryLater("Google has not made the Meet link yet", after=_SOON)
        return ActionError(
            "the calendar gives no Meet links: whoever administers the Workspace switches Meet on for it"
        )

    def _read(self, event: Event) -> Meeting:
        ended = properties_of(event).get(_ENDED)
        if ended is None and event.get("status") == "cancelled":  # deleted by hand: its link is gone
            ended = event.get("updated")
        return Meeting(
            id=f"{self._name}:{event['id']}",
            title=event.get("summary") or event["id"],
            url=video_of(event),
            incident=properties_of(event).get(INCIDENT),
            created_at=instant_of(event, "start"),
            ended_at=datetime.fromisoformat(ended).astimezone(UTC) if ended else None,
        )

    def _told(self, event: Event, effect: Effect) -> Meeting:
        meeting = self._read(event)
        tell_incident(meeting, effect)
        return meeting

    def _local(self, meeting: str) -> str:
        return meeting.removeprefix(f"{self._name}:")


GoogleMeetProvider = provider("google_meet", GoogleMeetOptions, serves=["meeting"], rate=RATE)(GoogleMeet)
