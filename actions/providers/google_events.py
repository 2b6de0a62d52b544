"""Events of one Google calendar that are ours: made under an id of ours, marked as ours, changed and read back.

An event's id follows from the effect's identity, so that making it again is refused (409) and the one that is there can
be compared. A deleted event keeps its id for ever. `extendedProperties.private` holds what else we have to know of it.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Literal
from zoneinfo import ZoneInfo

from actions.providers.google import Account, Google, GoogleOptions, Refused
from engine.domain import Person
from engine.plugins import ActionError, Connection, Field, RetryLater

#: What it has to be allowed: to keep events, and to see when people are busy.
SCOPES = (
    "https://www.googleapis.com/auth/calendar.events",
    "https://www.googleapis.com/auth/calendar.freebusy",
)
#: Names of private properties: the token of the effect that made an event, and of those that moved it; the incident
#: that it is about; and what an event has that is no review but a bridge.
MADE, MOVED, INCIDENT, BRIDGE = "hotwash", "hotwash-moved", "hotwash-incident", "hotwash-bridge"
#: Google allows 600 requests a minute for each user; an effect makes up to six.
RATE = "100/min"
#: The most events of a page that Google gives.
_PAGE = 2500
_MAY_WRITE = ("owner", "writer")

Event = Mapping[str, Any]


class EventsOptions(GoogleOptions):
    """Which calendar holds our events, and whom Google writes to."""

    calendar: str = Field(
        default="primary", min_length=1, description="Id of the calendar that events are kept in; by default its own."
    )
    notify: Literal["all", "externalOnly", "none"] = Field(
        default="all", description="Whom Google sends mail about an invitation: all, only externalOnly, or none."
    )


def event_id(token: str) -> str:
    """Give the id of the event that an effect makes: base32hex, as Google wants it."""
    return base64.b32hexencode(token.encode()).decode().rstrip("=").lower()


class Events:
    """The events of one calendar, as one account keeps them."""

    def __init__(self, title: str, options: EventsOptions, connection: Connection) -> None:
        self.account = Account(options, SCOPES)
        self.google = Google(title, ("calendar", "v3"), self.account, options, connection)
        self._calendar = options.calendar
        self._notify = options.notify

    async def insert(self, token: str, body: Event, properties: Mapping[str, str | None]) -> Event:
        """Make an event; one that this effect made before is given as it is, even where it was called off since.

        Raises:
            ActionError: Google refuses it, or somebody else's event has its id.
        """
        id = event_id(token)
        private = {name: text for name, text in {MADE: token, **properties}.items() if text is not None}
        wanted = {**body, "id": id, "extendedProperties": {"private": private}}
        try:
            return await self._write("insert", body=wanted, conferenceDataVersion=1)
        except Refused as error:
            if error.status != 409:
                raise
        there = await self.get(id)
        if there is None or (properties_of(there).get(MADE) != token and there.get("status") != "cancelled"):
            raise ActionError(f"the calendar has another event with the id '{id}'")
        return there

    async def get(self, id: str) -> Event | None:
        """Give an event as the calendar has it, a cancelled one too; None where it has none."""
        found: Event | None = await self.google.call(
            lambda api: api.events().get(calendarId=self._calendar, eventId=id), missing=True
        )
        return found

    async def patch(self, event: Event, changes: Event) -> Event:
        """Change an event as it was read.

        Raises:
            RetryLater: it was changed meanwhile.
        """
        try:
            return await self._write("patch", event.get("etag"), eventId=event["id"], body=changes)
        except Refused as error:
            if error.status == 412:
                raise RetryLater("somebody changed the event while it was changed", after=1) from None
            raise

    async def pages(self, since: datetime | None, token: str | None) -> AsyncIterator[Event]:
        """Yield the pages of the events that changed since a sync token; without one, of those since an instant.

        Deleted ones are among them: as little as the id may be told of such a one.
        """
        wanted = {"syncToken": token} if token else {"timeMin": rfc3339(since) if since else None}

        def ask(api: Any, page: str | None) -> Any:
            inputs = {"calendarId": self._calendar, "maxResults": _PAGE, "showDeleted": True, **wanted}
            return api.events().list(pageToken=page, **inputs)

        async for page in self.google.pages(ask):
            yield page

    async def busy(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask when calendars are busy."""
        answer: Mapping[str, Any] = await self.google.call(lambda api: api.freebusy().query(body=body))
        return answer

    async def check(self) -> str | None:
        """Say what is wrong with the account or the calendar; None where both work."""
        page = await self.google.call(
            lambda api: api.events().list(calendarId=self._calendar, maxResults=1), missing=True
        )
        share = f"share it with {self.account.email or 'the user'} as somebody who makes changes to events"
        if page is None:
            return f"there is no calendar '{self._calendar}' that it may see: {share}"
        if page.get("accessRole") not in (None, *_MAY_WRITE):
            return f"it may only read the calendar '{self._calendar}': {share}"
        if self.account.acts_alone:
            return f"a service account invites nobody in its own name: {self.account.remedy()}"
        return self.google.skew()

    async def _write(self, method: str, etag: str | None = None, **inputs: Any) -> Event:
        def ask(api: Any) -> Any:
            request = getattr(api.events(), method)(calendarId=self._calendar, sendUpdates=self._notify, **inputs)
            if etag is not None:
                request.headers["If-Match"] = etag
            return request

        written: Event = await self.google.call(ask)
        return written


# --- what an event says ----------------------------------------------------------------------------------------------


def properties_of(event: Event) -> Mapping[str, str]:
    """Give what we keep with an event."""
    found: Mapping[str, str] = (event.get("extendedProperties") or {}).get("private") or {}
    return found


def video_of(event: Event) -> str | None:
    """Give the address of an event's video call; None where it has none, or not yet."""
    points = (event.get("conferenceData") or {}).get("entryPoints") or ()
    video = next((one.get("uri") for one in points if one.get("entryPointType") == "video"), None)
    return video or event.get("hangoutLink")


def instant_of(event: Event, side: Literal["start", "end"]) -> datetime | None:
    """Give when an event begins or ends; a day without a time begins at midnight where the event is."""
    told = event.get(side) or {}
    if "dateTime" in told:
        return datetime.fromisoformat(told["dateTime"]).astimezone(UTC)
    if "date" not in told:
        return None
    midnight = datetime.combine(date.fromisoformat(told["date"]), time.min, ZoneInfo(told.get("timeZone") or "UTC"))
    return midnight.astimezone(UTC)


# --- what an event is to say -----------------------------------------------------------------------------------------


def conference(token: str) -> Event:
    """Ask for a Meet link; asked again with the same token, Google makes no second one."""
    return {"createRequest": {"requestId": token, "conferenceSolutionKey": {"type": "hangoutsMeet"}}}


def times(start: datetime, end: datetime, timezone: str) -> dict[str, Any]:
    """Give both ends of an event, as the clock shows them in a zone."""
    zone = ZoneInfo(timezone)
    both = (("start", start), ("end", end))
    return {side: {"dateTime": at.astimezone(zone).isoformat(), "timeZone": timezone} for side, at in both}


def rfc3339(at: datetime) -> str:
    """Give an instant in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def address_of(person: Person) -> str | None:
    """Give the address that somebody's calendar has: their `calendar` where that is an address, else their e-mail's."""
    return person.calendar if person.calendar and "@" in person.calendar else person.email


def guests(required: Sequence[Person], optional: Sequence[Person] = ()) -> list[dict[str, Any]]:
    """Give whom an event invites, as far as they have an address."""
    listed = [(person, False) for person in required] + [(person, True) for person in optional]
    return [
        {"email": address, "displayName": person.name, "optional": may_stay}
        for person, may_stay in listed
        if (address := address_of(person)) is not None
    ]
