"""The calendar that needs no account: people's calendars are `.ics` files, and so are the reviews that are booked.

When somebody is busy is read from their file (RFC 5545), recurring meetings included, and from the reviews that were
booked already: whoever is invited to one is not invited to another at the same time. An invitation is a file that mail
programs and calendars open; its UID is the effect's token, so booking the same effect again finds the same file. To
move a review, or to call it off, is to write its file again with the next SEQUENCE (RFC 5546), and the token of the
effect that moved it in `X-HOTWASH-EFFECT`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from actions.providers import files
from actions.providers.naming import slug
from engine.capabilities import Interval
from engine.domain import Person, Review
from engine.plugins import (
    ActionError,
    Connection,
    Effect,
    Fact,
    Field,
    Options,
    RetryLater,
    idempotent,
    native,
    provider,
)

_LARGEST_FILE = 32 * 1024 * 1024
_DAY = timedelta(days=1)
_OUR_UIDS = "@hotwash"
_NO_ADDRESS = "invalid:nomail"  #: what calendars write for somebody without an e-mail address
_TOKEN = re.compile(r"\w[\w-]{0,99}")
_PLAIN_NAME = re.compile(r"[\w.:@+ -]{1,100}")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_LINK = re.compile(r"(?<!\\)\[((?:[^\[\]\\]|\\.){1,300})\]\(([^()\s]{1,2000})\)")
_AUTOLINK = re.compile(r"<(https?://[^<>\s]{1,2000})>")
#: Control characters but the line break, and surrogates, which no file can hold.
_UNWRITTEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class IcsOptions(Options):
    """Options of the calendar files.

    Example:
        ics:
          provider: ics
          folder: calendars
          organizer: sre@example.com
    """

    folder: str = Field(
        default="calendars", min_length=1, description="Folder of people's calendars: their `calendar`, else `ID.ics`."
    )
    out: str = Field(default="reviews", min_length=1, description="Folder that invitations are written to.")
    organizer: str | None = Field(default=None, description="Who invites: a key of the roster or an e-mail address.")


@dataclass(frozen=True, slots=True)
class _Booking:
    """A review of ours as its file says. `people` are ids (`id:ada`) and addresses (`mailto:…`)."""

    start: datetime
    end: datetime
    people: frozenset[str]
    tokens: frozenset[str]  #: of the effects that booked and moved it
    on: bool = True  #: False where it was called off


#: What makes something of the calendars in a file.
Parse = Callable[[Sequence[Any]], Any]


class _Files:
    """Parsed calendar files, read again when they change."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Parse], tuple[tuple[int, int], Any]] = {}

    def read(self, path: Path, shown: str, parse: Parse) -> Any:
        """Give what `parse` makes of the calendars in the file; None where there is no file.

        Raises:
            ActionError: it cannot be read.
        """
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._known.get((path, parse))
            if known is not None and known[0] == stamp:
                return known[1]
            if status.st_size > _LARGEST_FILE:
                raise ActionError(f"the calendar file '{shown}' is larger than {_LARGEST_FILE // 1024**2} MiB")
            data = path.read_bytes()
        except FileNotFoundError:
            self._known.pop((path, parse), None)
            return None
        except OSError as error:
            raise ActionError(f"the calendar file '{shown}' cannot be read: {error.strerror}") from error
        parsed = _parsed(data, shown, parse)
        self._known[path, parse] = (stamp, parsed)
        return parsed


def _parsed(data: bytes, shown: str, parse: Parse) -> Any:
    from icalendar import Calendar

    try:
        calendars = Calendar.from_ical(data, multiple=True)
        if calendars:
            return parse(calendars)
    except Exception as error:  # a file from outside may break the parsers in any way
        raise ActionError(f"the calendar file '{shown}' cannot be read: {error}") from error
    raise ActionError(f"the calendar file '{shown}' cannot be read: it holds no VCALENDAR")


class IcsCalendar:
    """Read people's calendars from `.ics` files, and write invitations as such files.

    Somebody who has neither a calendar file nor a review of ours in the time asked for counts as not found.
    """

    def __init__(self, options: IcsOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._folder = connection.folder / options.folder
        self._out = connection.folder / options.out
        self._files = _Files()
        self._lock = asyncio.Lock()

    async def busy(
        self, people: Sequence[Person], start: datetime, end: datetime, *, without: str | None = None
    ) -> Mapping[str, Sequence[Interval] | None]:
        """Give by person id when they are busy. Events that are transparent, cancelled or declined do not count.

        Nor does the review `without`, be it our own file of it or somebody's copy in their calendar.

        Raises:
            ActionError: a calendar file cannot be read, or lies outside the folder.
        """
        async with self._lock:
            return await asyncio.to_thread(self._busy, people, start, end, self._local(without) if without else None)

    async def find(self, effect: Effect) -> Review | None:
        """Give the review that an earlier attempt of this effect booked or moved, as its file says now."""
        async with self._lock:
            review = await asyncio.to_thread(self._find, effect.token)
        if review is not None:
            self._emit(review, effect)
        return review

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
        """Write the invitation. One that this effect wrote before is kept as it is.

        Raises:
            RetryLater: another review took the time since it was asked for.
            ActionError: the file cannot be written.
        """
        review = Review(
            self._subject(effect.token),
            _line(title),
            start.astimezone(UTC),
            end.astimezone(UTC),
            organizer=self._organizer(),
            attendees=(*attendees, *optional),
            optional=tuple(optional),
            incident=incident,
        )
        async with self._lock:
            text = _plain(description)
            booked = await asyncio.to_thread(self._book, review, text, timezone, effect, private=private)
        self._emit(booked, effect)
        return booked

    @native
    async def reschedule(self, review: str, start: datetime, end: datetime, *, timezone: str, effect: Effect) -> Review:
        """Write the invitation with another time and the next SEQUENCE; who had answered is asked again.

        One that this effect has moved before is kept as it is.

        Raises:
            RetryLater: another review took the time since it was asked for.
            ActionError: there is no such review, or its file cannot be written.
        """
        times = (start.astimezone(UTC), end.astimezone(UTC))
        async with self._lock:
            moved = await asyncio.to_thread(self._move, self._local(review), times, timezone, effect)
        self._emit(moved, effect)
        return moved

    @idempotent
    async def cancel(self, review: str, *, reason: str | None, effect: Effect) -> Review:
        """Write the invitation as a cancellation with the next SEQUENCE. One that is called off stays as it is.

        Raises:
            ActionError: there is no such review, or its file cannot be written.
        """
        async with self._lock:
            off = await asyncio.to_thread(self._call_off, self._local(review), _plain(reason or ""), effect)
        self._emit(off, effect, "review.updated")
        return off

    async def get(self, review: str) -> Review | None:
        """Give a review by its id, as its file says now."""
        async with self._lock:
            return await asyncio.to_thread(self._get, self._local(review))

    async def check(self) -> str | None:
        """Say which calendar of the roster cannot be read."""
        try:
            async with self._lock:
                await asyncio.to_thread(self._read_all)
        except ActionError as error:
            return str(error)
        return None

    def _read_all(self) -> None:
        for person in self._connection.people.people():
            self._calendar_of(person)
        list(self._reviews())

    # --- who is busy

    def _busy(
        self, people: Sequence[Person], start: datetime, end: datetime, without: str | None
    ) -> dict[str, Sequence[Interval] | None]:
        kept = self._path_of(without) if without else None
        bookings = [b for path, b in self._reviews() if path != kept and b.on and b.start < end and start < b.end]
        found: dict[str, Sequence[Interval] | None] = {}
        for person in people:
            ours = [Interval(max(b.start, start), min(b.end, end)) for b in bookings if b.people & _names(person)]
            queries = self._calendar_of(person)
            if queries is None:
                found[person.id] = ours or None
            else:
                theirs = self._meetings(person, queries, start, end, f"{without}{_OUR_UIDS}")
                found[person.id] = sorted([*ours, *theirs], key=lambda interval: interval.start)
        return found

    def _meetings(
        self, person: Person, queries: Sequence[Any], start: datetime, end: datetime, without: str
    ) -> list[Interval]:
        zone = ZoneInfo(person.timezone or self._connection.zone)
        meetings = []
        try:
            # Dates and floating times have no zone of their own: they are looked for a day further around.
            events = [event for query in queries for event in query.between(start - _DAY, end + _DAY)]
        except Exception as error:  # rules are expanded only now, and a file from outside may hold any
            raise ActionError(f"the calendar of {person.name} cannot be read: {error}") from error
        for event in events:
            if _takes_time(event, person) and str(event.get("UID", "")) != without:
                begin, finish = _instant(event.start, zone), _instant(event.end, zone)
                if begin < finish and begin < end and start < finish:
                    meetings.append(Interval(max(begin, start), min(finish, end)))
        return meetings

    def _calendar_of(self, person: Person) -> Sequence[Any] | None:
        """Give the events of somebody's file, ready to be asked; None where there is no file."""
        name = person.calendar or f"{person.id}.ics"
        if not person.calendar and not _PLAIN_NAME.fullmatch(name):
            return None
        path = self._folder / name
        try:
            inside = path.resolve().is_relative_to(self._folder.resolve())
        except (OSError, ValueError, RuntimeError) as error:
            raise ActionError(f"the calendar '{name}' of {person.name} is no file name: {error}") from error
        if not inside:
            raise ActionError(
                f"the calendar '{name}' of {person.name} leads out of the folder '{self._options.folder}': "
                "links and '..' may not leave it"
            )
        calendar: Sequence[Any] | None = self._files.read(path, f"{self._options.folder}/{name}", _queries)
        return calendar

    # --- the reviews

    def _reviews(self) -> Iterator[tuple[Path, _Booking]]:
        for path in self._paths("*.ics"):
            for booking in self._files.read(path, f"{self._options.out}/{path.name}", _bookings) or ():
                yield path, booking

    def _path_of(self, token: str) -> Path | None:
        """Give the file of the review that a token booked, whatever the title was then."""
        if not _TOKEN.fullmatch(token):
            return None
        return next(iter(self._paths(f"*-{token}.ics")), None)

    def _paths(self, pattern: str) -> Sequence[Path]:
        return sorted(path for path in self._out.glob(pattern) if path.is_file() and not path.is_symlink())

    def _find(self, token: str) -> Review | None:
        path = self._path_of(token) or next((path for path, one in self._reviews() if token in one.tokens), None)
        return self._read(path) if path is not None else None

    def _get(self, token: str) -> Review | None:
        path = self._path_of(token)
        return self._read(path) if path is not None else None

    def _read(self, path: Path) -> Review:
        review: Review = self._parsed(path, lambda calendars: self._review(path, calendars))
        return review

    def _parsed(self, path: Path, parse: Parse) -> Any:
        shown = f"{self._options.out}/{path.name}"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ActionError(f"the calendar file '{shown}' cannot be read: {error.strerror}") from error
        return _parsed(data, shown, parse)

    def _book(self, review: Review, description: str, timezone: str, effect: Effect, *, private: bool) -> Review:
        booked = self._find(effect.token)
        if booked is not None:
            return booked
        self._refuse_overlap(review, None)
        path = self._out / f"{slug(review.title, 60) or 'review'}-{effect.token}.ics"
        self._write(path, _invitation(review, description, timezone, effect, private=private))
        return _with_url(review, path)

    def _move(self, token: str, times: tuple[datetime, datetime], timezone: str, effect: Effect) -> Review:
        moved = self._find(effect.token)
        if moved is not None:
            return moved
        path, review = self._existing(token)
        self._refuse_overlap(replace(review, start=times[0], end=times[1]), path)
        self._write(path, self._parsed(path, lambda calendars: _moved(calendars, times, timezone, effect)))
        return self._read(path)

    def _call_off(self, token: str, reason: str, effect: Effect) -> Review:
        path, review = self._existing(token)
        if review.cancelled:
            return review
        self._write(path, self._parsed(path, lambda calendars: _called_off(calendars, reason, effect)))
        return self._read(path)

    def _existing(self, token: str) -> tuple[Path, Review]:
        path = self._path_of(token)
        if path is None:
            raise ActionError(f"there is no review '{token}' in '{self._options.out}'", code="not-found")
        return path, self._read(path)

    def _refuse_overlap(self, review: Review, path: Path | None) -> None:
        """Raise where somebody who must come to a review has another one of ours at its time."""
        assert review.start is not None
        assert review.end is not None
        may_stay = {person.id for person in review.optional}
        must = [person for person in review.attendees if person.id not in may_stay]
        names = frozenset[str]().union(*(_names(person) for person in must))
        for other, booking in self._reviews():
            at_once = booking.on and booking.start < review.end and review.start < booking.end
            if at_once and other != path and booking.people & names:
                raise RetryLater("another review was booked for this time since it was looked for", after=1)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            files.put(path, data)
        except OSError as error:
            raise ActionError(
                f"the invitation '{self._options.out}/{path.name}' cannot be written: {error.strerror}"
            ) from error

    def _review(self, path: Path, calendars: Sequence[Any]) -> Review:
        event = _event(calendars)[1]
        incident = event.get("X-HOTWASH-INCIDENT")
        invited = [(self._person(address), address) for address in _attendees(event)]
        return _with_url(
            Review(
                self._subject(str(event["UID"]).removesuffix(_OUR_UIDS)),
                str(event.get("SUMMARY", "")),
                _instant(event.start, UTC),
                _instant(event.end, UTC),
                organizer=self._organizer(),
                attendees=tuple(person for person, _ in invited),
                optional=tuple(person for person, address in invited if _may_stay(address)),
                accepted=tuple(person for person, address in invited if _answer(address) == "ACCEPTED"),
                declined=tuple(person for person, address in invited if _declined(address)),
                incident=str(incident) if incident else None,
                cancelled=_is(event, "STATUS", "CANCELLED"),
            ),
            path,
        )

    def _person(self, address: Any) -> Person:
        email = _email(address)
        key = str(address.params.get("X-HOTWASH-ID") or email or address)
        found = self._connection.people.person(key)
        name = str(address.params.get("CN") or key)
        return found or self._connection.people.join(Person(key, name, email))

    def _organizer(self) -> Person | None:
        key = self._options.organizer
        if key is None:
            return None
        return self._connection.people.person(key) or Person(key, key, key if "@" in key else None)

    def _subject(self, token: str) -> str:
        return f"{self._connection.name}:{token}"

    def _local(self, review: str) -> str:
        return review.removeprefix(f"{self._connection.name}:")

    def _emit(self, review: Review, effect: Effect, kind: str = "review.scheduled") -> None:
        names = (
            *("id", "title", "start", "end", "url", "organizer", "attendees", "optional"),
            *("accepted", "declined", "incident", "cancelled"),
        )
        fact = Fact(
            kind,
            effect.at,
            subject_type="review",
            subject=review.id,
            fields={name: getattr(review, name) for name in names},
            actor=effect.actor,
            own=effect.actor is None,
        )
        effect.emit(self._connection.name, fact)


# --- what a file says ------------------------------------------------------------------------------------------------


def _queries(calendars: Sequence[Any]) -> Sequence[Any]:
    import recurring_ical_events

    for event in (event for calendar in calendars for event in calendar.walk("VEVENT")):
        rules = event.get("RRULE", [])
        for rule in rules if isinstance(rules, list) else [rules]:
            if {str(word).upper() for word in rule.get("FREQ", [])} & {"SECONDLY", "MINUTELY"}:
                raise ValueError(f"'{event.get('SUMMARY', '')}' repeats more often than hourly")
    return [recurring_ical_events.of(calendar) for calendar in calendars]


def _bookings(calendars: Sequence[Any]) -> Sequence[_Booking]:
    events = [event for calendar in calendars for event in calendar.walk("VEVENT")]
    return [
        _Booking(
            _instant(event.start, UTC),
            _instant(event.end, UTC),
            frozenset(
                name for address in _attendees(event) if not _declined(address) for name in _address_names(address)
            ),
            frozenset([str(event["UID"]).removesuffix(_OUR_UIDS), *map(str, _several(event, "X-HOTWASH-EFFECT"))]),
            not _is(event, "STATUS", "CANCELLED"),
        )
        for event in events
        if _is_ours(event)
    ]


def _event(calendars: Sequence[Any]) -> tuple[Any, Any]:
    """Give the event of a review of ours, and the calendar it stands in."""
    events = [(calendar, event) for calendar in calendars for event in calendar.walk("VEVENT") if _is_ours(event)]
    if not events:
        raise ValueError(f"it holds no event whose UID ends with {_OUR_UIDS}")
    return events[0]


def _is_ours(event: Any) -> bool:
    return str(event.get("UID", "")).endswith(_OUR_UIDS)


def _takes_time(event: Any, person: Person) -> bool:
    if _is(event, "TRANSP", "TRANSPARENT") or _is(event, "STATUS", "CANCELLED"):
        return False
    return not any(_declined(address) and _address_names(address) & _names(person) for address in _attendees(event))


def _is(event: Any, key: str, value: str) -> bool:
    return str(event.get(key, "")).strip().upper() == value


def _answer(address: Any) -> str:
    return str(address.params.get("PARTSTAT", "")).upper()


def _declined(address: Any) -> bool:
    return _answer(address) == "DECLINED"


def _may_stay(address: Any) -> bool:
    return str(address.params.get("ROLE", "")).upper() == "OPT-PARTICIPANT"


def _attendees(event: Any) -> Sequence[Any]:
    return _several(event, "ATTENDEE")


def _several(event: Any, key: str) -> Sequence[Any]:
    """Give the values of a property that an event may have several times."""
    found = event.get(key, [])
    return found if isinstance(found, list) else [found]


def _email(address: Any) -> str | None:
    scheme, _, rest = str(address).partition(":")
    return rest if scheme.lower() == "mailto" and rest else None


def _address_names(address: Any) -> frozenset[str]:
    email, key = _email(address), address.params.get("X-HOTWASH-ID")
    return frozenset(({f"mailto:{email.casefold()}"} if email else set()) | ({f"id:{key}"} if key else set()))


def _names(person: Person) -> frozenset[str]:
    return frozenset({f"id:{person.id}"} | ({f"mailto:{person.email.casefold()}"} if person.email else set()))


def _instant(value: date | datetime, zone: Any) -> datetime:
    """Give the instant of a DTSTART or DTEND; a date or a time without a zone is local."""
    if not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)


# --- what a file is to say -------------------------------------------------------------------------------------------


def _invitation(review: Review, description: str, timezone: str, effect: Effect, *, private: bool) -> bytes:
    from icalendar import Calendar, Event

    assert review.start is not None
    assert review.end is not None
    event = Event()
    event.add("uid", f"{effect.token}{_OUR_UIDS}")
    event.add("summary", review.title)
    event.add("description", description)
    if private:
        event.add("class", "PRIVATE")
    event.add("organizer", _address(review.organizer or Person("hotwash", "Hotwash"), {}))
    may_stay = {person.id for person in review.optional}
    for person in review.attendees:
        role = "OPT-PARTICIPANT" if person.id in may_stay else "REQ-PARTICIPANT"
        answer = {"ROLE": role, "PARTSTAT": "NEEDS-ACTION", "RSVP": "TRUE", "X-HOTWASH-ID": person.id}
        event.add("attendee", _address(person, answer))
    if review.incident:
        event.add("x-hotwash-incident", _line(review.incident))
    calendar = Calendar()
    calendar.add("prodid", "-//Hotwash//Reviews//EN")
    calendar.add("version", "2.0")
    calendar.add_component(event)
    _stamp(calendar, event, 0, "REQUEST", "CONFIRMED", effect)
    _put_times(calendar, event, (review.start, review.end), timezone)
    data: bytes = calendar.to_ical()
    return data


def _moved(calendars: Sequence[Any], times: tuple[datetime, datetime], timezone: str, effect: Effect) -> bytes:
    """Give a review's file with another time: RFC 5546, 3.2.2.1."""
    calendar, event = _event(calendars)
    _stamp(calendar, event, _next_sequence(event), "REQUEST", "CONFIRMED", effect)
    _put_times(calendar, event, times, timezone)
    for address in _attendees(event):
        address.params["PARTSTAT"] = "NEEDS-ACTION"
        address.params["RSVP"] = "TRUE"
    event.pop("COMMENT", None)
    event.add("x-hotwash-effect", effect.token)
    data: bytes = calendar.to_ical()
    return data


def _called_off(calendars: Sequence[Any], reason: str, effect: Effect) -> bytes:
    """Give a review's file as a cancellation of the whole event: RFC 5546, 3.2.5."""
    calendar, event = _event(calendars)
    _stamp(calendar, event, _next_sequence(event), "CANCEL", "CANCELLED", effect)
    for address in _attendees(event):
        address.params.pop("RSVP", None)
    event.pop("COMMENT", None)
    if reason:
        event.add("comment", reason)
    data: bytes = calendar.to_ical()
    return data


def _next_sequence(event: Any) -> int:
    return int(event.get("SEQUENCE", 0)) + 1


def _stamp(calendar: Any, event: Any, sequence: int, method: str, status: str, effect: Effect) -> None:
    """Say what the file is for: which message it is about the event, and since when that holds."""
    _put(calendar, "method", method)
    _put(event, "dtstamp", effect.at.astimezone(UTC).replace(microsecond=0))
    _put(event, "sequence", sequence)
    _put(event, "status", status)


def _put_times(calendar: Any, event: Any, times: tuple[datetime, datetime], timezone: str) -> None:
    local = [instant.astimezone(ZoneInfo(timezone)) for instant in times]
    if timezone == "UTC" or any(one.fold for one in local):  # a file has no word for the second of two equal hours
        local = [one.astimezone(UTC) for one in local]
    event.pop("DURATION", None)
    _put(event, "dtstart", local[0])
    _put(event, "dtend", local[1])
    calendar.subcomponents = [part for part in calendar.subcomponents if str(part.get("TZID", "")) != timezone]
    around = timedelta(days=400)
    calendar.add_missing_timezones((times[0] - around).date(), (times[1] + around).date())


def _put(component: Any, key: str, value: Any) -> None:
    component.pop(key, None)
    component.add(key, value)


def _address(person: Person, more: Mapping[str, str]) -> Any:
    from icalendar import vCalAddress

    email = _line(person.email or "").replace(" ", "")
    address = vCalAddress(f"mailto:{email}" if email else _NO_ADDRESS)
    address.params["CN"] = _line(person.name) or person.id
    for key, value in more.items():
        address.params[key] = _line(value)
    return address


def _line(text: str) -> str:
    return " ".join(_UNWRITTEN.sub(" ", text).split())


def _plain(markdown: str) -> str:
    """Give Markdown as plain text: links with their address behind, escapes taken off."""
    text = markdown.replace("\r\n", "\n").replace("\t", " ")
    text = _AUTOLINK.sub(r"\1", _LINK.sub(r"\1 (\2)", text))
    return _ESCAPED.sub(r"\1", _UNWRITTEN.sub("", text)).strip()


def _with_url(review: Review, path: Path) -> Review:
    return replace(review, url=path.absolute().as_uri())


Ics = provider("ics", IcsOptions, serves=("calendar",))(IcsCalendar)
