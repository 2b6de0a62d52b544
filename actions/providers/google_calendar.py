"""Google Calendar: when people are busy, and reviews as events that they are invited to and answer.

Free/busy knows out-of-office, focus time and all that is marked as busy; working locations and what is marked as free
do not count. Google tells nobody's working hours: those are the roster's. An event's id follows from the effect that
books it, a moved event remembers the effects that moved it, and both are read back before anything is done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from actions.providers.google import Refused
from actions.providers.google_events import (
    BRIDGE,
    INCIDENT,
    MADE,
    MOVED,
    RATE,
    Event,
    Events,
    EventsOptions,
    address_of,
    conference,
    event_id,
    guests,
    instant_of,
    properties_of,
    rfc3339,
    times,
    video_of,
)
from engine.capabilities import Changes, Interval
from engine.domain import Person, Review
from engine.plugins import (
    ActionError,
    Connection,
    Duration,
    Effect,
    Fact,
    Field,
    RetryLater,
    idempotent,
    native,
    provider,
)

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

#: Calendars of one free/busy query; Google's own limit.
_MOST_CALENDARS = 50
#: The longest stretch that is asked for at once: Google refuses longer ones than a few months.
_LONGEST_STRETCH = timedelta(days=60)
#: How far back events are read where no sync token is known, or Google has forgotten it.
_LOOKS_BACK = timedelta(days=30)
_LONGEST_REMINDER = 28 * 24 * 60
#: Effects that moved an event, of which so many are remembered with it.
_MOST_MOVES = 10
_CALLED_OFF = "<p>Called off: "
_END = "</p>\n"
#: What is told of a review: Google keeps no more of it.
_TOLD = (
    *("id", "title", "start", "end", "url", "organizer", "attendees", "optional", "accepted", "declined"),
    *("video_url", "incident", "cancelled"),
)


class GoogleCalendarOptions(EventsOptions):
    """How Google Calendar is asked.

    Example:
        calendar:
          provider: google_calendar
          credentials: ${file:google.json}
          subject: hotwash@example.com
    """

    meet: bool = Field(default=True, description="Whether a review gets a Meet link.")
    reminders: dict[Literal["email", "popup"], Duration] | None = Field(
        default=None,
        description="How long before a review Google reminds those invited, by email and popup; by default as each has "
        "set it.",
    )

    @field_validator("reminders")
    @classmethod
    def _are_short(cls, reminders: dict[str, Any] | None) -> dict[str, Any] | None:
        for method, before in (reminders or {}).items():
            if not before.exact or not 0 <= before.seconds <= _LONGEST_REMINDER * 60:
                raise ValueError(f"must come at most 28d before, '{method}' is {before}")
        return reminders


class GoogleCalendar:
    """See when people are busy, and book reviews as events of a Google calendar."""

    announces = True

    owns = frozenset(_TOLD)

    def __init__(self, options: GoogleCalendarOptions, connection: Connection) -> None:
        self._options = options
        self._name = connection.name
        self._connection = connection
        self._events = Events("Google Calendar", options, connection)
        self._booking = asyncio.Lock()

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        problem = await self._events.check()
        if problem is None:
            now = self._connection.clock.now()
            await self._asked([self._options.calendar], now, now + timedelta(hours=1))
        return problem

    async def aclose(self) -> None:
        """Close the client."""
        await self._events.google.aclose()

    # --- who is busy -------------------------------------------------------------------------------------------------

    async def busy(
        self, people: Sequence[Person], start: datetime, end: datetime, *, without: str | None = None
    ) -> Mapping[str, Sequence[Interval] | None]:
        """Give by person id when they are busy; None for somebody without an address, or whose calendar is closed."""
        addresses = {person.id: address_of(person) for person in people}
        asked = sorted({address for address in addresses.values() if address is not None})
        known = await self._asked(asked, start, end)
        kept = await self._events.get(self._local(without)) if without else None
        own = _stretch_of(kept) if kept is not None and kept.get("status") != "cancelled" else None
        return {
            person: None if address is None or known[address] is None else _cut(known[address] or (), own)
            for person, address in addresses.items()
        }

    async def _asked(
        self, addresses: Sequence[str], start: datetime, end: datetime
    ) -> Mapping[str, Sequence[Interval] | None]:
        """Ask when calendars are busy, as many at once as Google allows."""
        found: dict[str, list[Interval] | None] = {address: [] for address in addresses}
        for begin, finish in _stretches(start, end):
            for first in range(0, len(addresses), _MOST_CALENDARS):
                part = addresses[first : first + _MOST_CALENDARS]
                body = {
                    "timeMin": rfc3339(begin),
                    "timeMax": rfc3339(finish),
                    "calendarExpansionMax": _MOST_CALENDARS,
                    "items": [{"id": address} for address in part],
                }
                answer = await self._events.busy(body)
                told = {key.casefold(): one for key, one in (answer.get("calendars") or {}).items()}
                for address in part:
                    one = told.get(address.casefold())
                    listed = found[address]
                    if one is None or one.get("errors") or listed is None:
                        found[address] = None
                    else:
                        listed += _intervals(one.get("busy") or ())
        return found

    async def _refuse_taken(
        self, people: Sequence[Person], start: datetime, end: datetime, without: str | None = None
    ) -> None:
        """Raise where somebody who must come is no longer free: another review may have been booked meanwhile."""
        taken = await self.busy(people, start, end, without=without)
        if any(taken.values()):
            raise RetryLater("somebody is no longer free at the time that was found", after=1)

    # --- changing ----------------------------------------------------------------------------------------------------

    async def find(self, effect: Effect) -> Review | None:
        """Give the review that an earlier attempt of this effect booked or moved, as the calendar has it now."""
        event = await self._events.get(event_id(effect.token)) or await self._moved_by(effect)
        return self._told(event, effect) if event is not None else None

    async def _moved_by(self, effect: Effect) -> Event | None:
        named = effect.inputs.get("review") or (effect.subject if effect.subject_type == "review" else None)
        ref = str(getattr(named, "id", None) or named or "")
        if not ref.startswith(f"{self._name}:"):
            return None
        event = await self._events.get(self._local(ref))
        moved = event is not None and effect.token in properties_of(event).get(MOVED, "").split()
        return event if moved else None

    @native
    async def create(
        self,
        title: str,
        start: datetime,
        end: datetime,
        *,
        attendees: Sequence[Person],
        optional: Sequence[Person] = (),
        description: str,
        timezone: str,
        incident: str | None,
        private: bool = False,
        effect: Effect,
    ) -> Review:
        """Make the event and invite. One that this effect made before is given as it is.

        Raises:
            ActionError: nobody invited has an address.
            RetryLater: somebody is no longer free.
        """
        body: dict[str, Any] = {
            "summary": " ".join(title.split()),
            "description": _html(description),
            "attendees": guests(attendees, optional),
            **times(start, end, timezone),
        }
        if not body["attendees"]:
            raise ActionError("nobody can be invited: none of them has an e-mail address", code="nobody-to-invite")
        if private:
            body["visibility"] = "private"
        if self._options.meet:
            body["conferenceData"] = conference(effect.token)
        if self._options.reminders is not None:
            overrides = [
                {"method": method, "minutes": round(before.seconds / 60)}
                for method, before in self._options.reminders.items()
            ]
            body["reminders"] = {"useDefault": False, "overrides": overrides}
        async with self._booking:
            await self._refuse_taken(attendees, start, end)
            event = await self._events.insert(effect.token, body, {INCIDENT: incident})
        review = self._told(event, effect)
        unreached = [person for person in (*attendees, *optional) if address_of(person) is None]
        return replace(review, left_out=tuple(unreached))

    @native
    async def reschedule(self, review: str, start: datetime, end: datetime, *, timezone: str, effect: Effect) -> Review:
        """Move the event, ask everybody again, and put it on again where it was called off.

        Raises:
            ActionError: there is no such review.
            RetryLater: somebody is no longer free, or changed the event at the same time.
        """
        async with self._booking:
            event = await self._existing(review)
            known = self._read(event)
            must = [person for person in known.attendees if person not in known.optional]
            await self._refuse_taken(must, start, end, without=review)
            moves = [*properties_of(event).get(MOVED, "").split(), effect.token][-_MOST_MOVES:]
            changes = {
                **times(start, end, timezone),
                "status": "confirmed",
                "description": _on_again(event.get("description", "")),
                "attendees": [_asked_again(guest) for guest in event.get("attendees") or ()],
                "extendedProperties": {"private": {**properties_of(event), MOVED: " ".join(moves)}},
            }
            moved = await self._events.patch(event, changes)
        return self._told(moved, effect)

    @idempotent
    async def cancel(self, review: str, *, reason: str | None, effect: Effect) -> Review:
        """Call the event off, with the reason at the top of what it says. One that is called off stays as it is.

        Raises:
            ActionError: there is no such review.
            RetryLater: somebody changed the event at the same time.
        """
        event = await self._existing(review)
        if event.get("status") != "cancelled":
            changes = {"status": "cancelled"}
            if reason:
                changes["description"] = _called_off(reason, event.get("description", ""))
            event = await self._events.patch(event, changes)
        return self._told(event, effect, "review.updated")

    async def get(self, review: str) -> Review | None:
        """Give a review by its id, with what its guests have answered."""
        event = await self._events.get(self._local(review))
        return self._read(event) if event is not None else None

    async def _existing(self, review: str) -> Event:
        event = await self._events.get(self._local(review))
        if event is None:
            raise ActionError(f"connection '{self._name}' has no review '{review}'", code="not-found")
        return event

    # --- what its guests answer --------------------------------------------------------------------------------------

    async def changes(self, cursor: str | None) -> Changes:
        """Give which of our events were changed, answered or deleted since a cursor, Google's sync token.

        Where Google has forgotten the token (410), all of ours are told anew: what is known changes nothing.
        """
        try:
            events, token = await self._changed(cursor)
        except Refused as error:
            if error.status != 410 or cursor is None:
                raise
            events, token = await self._changed(None)
        facts = [fact for event in events if cursor is not None and (fact := self._fact(event)) is not None]
        return Changes(facts, token)

    async def _changed(self, cursor: str | None) -> tuple[list[Event], str]:
        events: list[Event] = []
        token = None
        async for page in self._events.pages(self._connection.clock.now() - _LOOKS_BACK, cursor):
            events += page.get("items") or ()
            token = page.get("nextSyncToken")
        if token is None:
            raise ActionError("Google Calendar gave no sync token, without which changes cannot be followed")
        return events, token

    def _fact(self, event: Event) -> Fact | None:
        """Give what an event says of a review; None where it is no review of ours."""
        if BRIDGE in properties_of(event):
            return None
        subject = self._subject(event["id"])
        known: Review | None = self._connection.storage.subject("review", subject)
        if MADE not in properties_of(event) and known is None:
            return None
        at = event.get("updated")
        time = datetime.fromisoformat(at).astimezone(UTC) if at else self._connection.clock.now()
        seen = f"{event['id']}/{event.get('etag') or at or 'deleted'}"
        if MADE not in properties_of(event):  # of a deleted event Google tells no more than its id
            return Fact("review.updated", time, "review", subject, {"cancelled": True}, id=seen)
        review = self._read(event)
        before = {person.id for person in known.declined} if known is not None else set()
        new = tuple(person for person in review.declined if person.id not in before)
        return Fact(
            "review.updated" if known is not None else "review.scheduled",  # seen before its effect's result is kept
            time,
            "review",
            subject,
            _fields(review),
            actor=new[0] if len(new) == 1 else None,
            id=seen,
        )

    # --- what an event means -----------------------------------------------------------------------------------------

    def _read(self, event: Event) -> Review:
        invited = [(self._person(guest), guest) for guest in event.get("attendees") or () if not guest.get("resource")]
        organizer = event.get("organizer") or {}

        def those(wanted: str) -> tuple[Person, ...]:
            return tuple(person for person, guest in invited if guest.get("responseStatus") == wanted)

        return Review(
            id=self._subject(event["id"]),
            title=event.get("summary") or event["id"],
            start=instant_of(event, "start"),
            end=instant_of(event, "end"),
            url=event.get("htmlLink"),
            organizer=self._person(organizer) if organizer.get("email") else None,
            attendees=tuple(person for person, _ in invited),
            optional=tuple(person for person, guest in invited if guest.get("optional")),
            accepted=those("accepted"),
            declined=those("declined"),
            video_url=video_of(event),
            incident=properties_of(event).get(INCIDENT),
            cancelled=event.get("status") == "cancelled",
        )

    def _person(self, raw: Mapping[str, Any]) -> Person:
        """Give the guest or organizer that an event names, joined with the roster by address."""
        email = str(raw.get("email") or raw.get("id") or "")
        people = self._connection.people
        for person in people.people():
            if (address_of(person) or "").casefold() == email.casefold():
                return person
        return people.join(Person(email, str(raw.get("displayName") or email), email))

    def _told(self, event: Event, effect: Effect, kind: str = "review.scheduled") -> Review:
        """Give the review, and let the next step see it."""
        review = self._read(event)
        fact = Fact(
            kind,
            effect.at,
            "review",
            review.id,
            _fields(review),
            actor=effect.actor,
            own=effect.actor is None,
        )
        effect.emit(self._name, fact)
        return review

    def _subject(self, id: str) -> str:
        return f"{self._name}:{id}"

    def _local(self, review: str) -> str:
        return review.removeprefix(f"{self._name}:")


def _fields(review: Review) -> dict[str, Any]:
    return {name: getattr(review, name) for name in _TOLD}


# --- time ------------------------------------------------------------------------------------------------------------


def _stretches(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        following = min(end, start + _LONGEST_STRETCH)
        yield start, following
        start = following


def _intervals(busy: Iterable[Mapping[str, str]]) -> Iterator[Interval]:
    for one in busy:
        yield Interval(*(datetime.fromisoformat(one[side]).astimezone(UTC) for side in ("start", "end")))


def _stretch_of(event: Event) -> Interval | None:
    start, end = instant_of(event, "start"), instant_of(event, "end")
    return Interval(start, end) if start is not None and end is not None else None


def _cut(intervals: Iterable[Interval], out: Interval | None) -> list[Interval]:
    """Leave the time of an event out of stretches that may be of several."""
    if out is None:
        return list(intervals)
    parts = []
    for one in intervals:
        parts += [Interval(one.start, min(one.end, out.start)), Interval(max(one.start, out.end), one.end)]
    return [part for part in parts if part.start < part.end]


# --- what it says ----------------------------------------------------------------------------------------------------


def _asked_again(guest: Mapping[str, Any]) -> dict[str, Any]:
    """Give a guest as they stand on the list for another time: what they answered was about the one before."""
    if guest.get("organizer") or guest.get("self") or guest.get("resource"):
        return dict(guest)
    return {**{name: value for name, value in guest.items() if name != "comment"}, "responseStatus": "needsAction"}


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False})


def _html(markdown: str) -> str:
    """Give Markdown as the HTML that descriptions may hold; HTML in it is text."""
    html: str = _markdown().render(markdown)
    return html.strip()


def _called_off(reason: str, description: str) -> str:
    return f"{_CALLED_OFF}{' '.join(_html(reason).removeprefix('<p>').removesuffix('</p>').split())}{_END}{description}"


def _on_again(description: str) -> str:
    """Take the reason out of what an event says for which it was called off."""
    return description.partition(_END)[2] if description.startswith(_CALLED_OFF) else description


GoogleCalendarProvider = provider("google_calendar", GoogleCalendarOptions, serves=["calendar"], rate=RATE)(
    GoogleCalendar
)
