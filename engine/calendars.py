"""Business time: durations, working calendars, arithmetic on both, and the search for a free slot.

Pure functions; nothing here asks for the time. Instants that come in are aware, in any zone; instants that go out are
in UTC. A local time that is counted to and does not exist moves forward by the gap, one that exists twice is its first
occurrence. Opening hours are what a clock on the wall says: an hour that it passes over nobody has, and one that it
shows twice is open twice.
"""

from __future__ import annotations

import difflib
import functools
import re
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import total_ordering
from itertools import pairwise
from operator import itemgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo

_SHORT = re.compile(r"(\d+(?:\.\d+)?)(bd|[smhdw])")
_ISO = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


# --- durations -------------------------------------------------------------------------------------------------------


@total_ordering
@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time: exact seconds, working days, and calendar months.

    `7d` is 7 x 24 h. Working days and months have no fixed length: such a duration can be added to an instant, and
    compared only with another of the same shape.
    """

    seconds: float = 0.0
    business_days: int = 0
    months: int = 0

    @property
    def exact(self) -> bool:
        """Whether it is seconds alone."""
        return not self.business_days and not self.months

    def timedelta(self) -> timedelta:
        """Give it as a timedelta.

        Raises:
            ValueError: it holds working days or months, or is longer than a timedelta can be.
        """
        if not self.exact:
            raise ValueError(f"{self} has no fixed length: add it to an instant")
        return _timedelta(self.seconds)

    def __lt__(self, other: Duration) -> bool:
        if not (self.exact and other.exact):
            raise ValueError(f"{self} and {other} cannot be compared: one has no fixed length")
        return self.seconds < other.seconds

    def __str__(self) -> str:
        """Give the shortest text that `parse_duration` reads as this value; one below zero begins with a minus."""
        if self.seconds < 0:
            return f"-{Duration(-self.seconds, -self.business_days, -self.months)}"
        if self.months:
            return f"P{self.months}M" + (f"T{_number(self.seconds)}S" if self.seconds else "")
        parts = [f"{self.business_days}bd"] if self.business_days else []
        left = self.seconds
        for unit in ("w", "d", "h", "m"):
            count, rest = divmod(left, _SECONDS[unit])
            if unit == "w" and rest:
                continue
            if count:
                parts.append(f"{int(count)}{unit}")
            left = rest
        if left or not parts:
            parts.append(f"{_number(left)}s")
        return "".join(parts)


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _timedelta(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{_number(seconds)} seconds are longer than the calendar") from None


def parse_duration(text: str) -> Duration:
    """Read `30s 15m 2h 7d 2w`, several in a row, working days `3bd`, or ISO 8601 `P7D P1M PT15M`.

    Raises:
        ValueError: it is none of these; the message says what is allowed.
    """
    bare = text.strip()
    if bare.startswith("P") and len(bare) > 1 and (found := _ISO.fullmatch(bare)) and not bare.endswith("T"):
        years, months, weeks, days, hours, minutes, seconds = (float(g or 0) for g in found.groups())
        total = weeks * 604800 + days * 86400 + hours * 3600 + minutes * 60 + seconds
        return Duration(total, 0, int(years * 12 + months))
    pieces = _SHORT.findall(bare)
    if pieces and "".join(number + unit for number, unit in pieces) == bare:
        working = [number for number, unit in pieces if unit == "bd"]
        if any("." in number for number in working):
            raise ValueError(f"working days are whole: '{text}'")
        return Duration(
            float(sum(float(number) * _SECONDS[unit] for number, unit in pieces if unit != "bd")),
            sum(int(number) for number in working),
        )
    raise ValueError(f"must be a duration such as 30s, 15m, 2h, 7d, 3bd or P1M, not '{text}'")


# --- calendars -------------------------------------------------------------------------------------------------------

#: Opening hours of one day. An end of 00:00 is midnight at the day's end.
Hours = tuple[tuple[time, time], ...]
#: Opening hours by weekday, Monday first.
Week = tuple[Hours, Hours, Hours, Hours, Hours, Hours, Hours]
#: Days off: the dates, or a function that gives those of a year.
Holidays = frozenset[date] | Callable[[int], frozenset[date]]
#: A stretch of time in UTC, its end exclusive.
Stretch = tuple[datetime, datetime]

#: What `during:` of a workflow calls the hours of whom each message goes to; no calendar can be called so.
RECIPIENT = "recipient"

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*")
#: A calendar without a working day for this many days in a row counts as one that never opens.
_LONGEST_CLOSURE = 3 * 366
_MOST_WORKING_DAYS = 10_000
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_STEP = timedelta(hours=1)  #: no zone changes its clocks twice within it


@dataclass(frozen=True, slots=True)
class Calendar:
    """Working hours by the local time of one zone, and the days off."""

    name: str
    timezone: str  #: IANA name
    hours: Week
    holidays: Holidays = frozenset()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def is_holiday(self, day: date) -> bool:
        return day in (self.holidays(day.year) if callable(self.holidays) else self.holidays)

    def is_working_day(self, day: date) -> bool:
        """Whether the day has hours, is no day off, and exists (Samoa had no 30 December 2011)."""
        return bool(self.hours[day.weekday()]) and not self.is_holiday(day) and _exists(day, self.zone)

    def never_opens(self) -> ValueError:
        """Give the error for a calendar without working days."""
        return ValueError(f"calendar '{self.name}' never opens: it has no working day within three years")


_NINE_TO_FIVE: Hours = ((time(9), time(17)),)
WEEKDAYS_9_TO_5 = Calendar("default", "UTC", (_NINE_TO_FIVE,) * 5 + ((), ()))


def default_calendar(timezone: str) -> Calendar:
    """Give Monday to Friday, 09:00 to 17:00, in a zone.

    Raises:
        ValueError: there is no such zone.
    """
    return Calendar("default", check_zone(timezone), WEEKDAYS_9_TO_5.hours)


def check_zone(timezone: str) -> str:
    """Give the name of a time zone back if there is such a zone.

    Raises:
        ValueError: there is none; the message has the nearest name.
    """
    import zoneinfo

    try:
        ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = _nearest(timezone, zoneinfo.available_timezones(), "such as Europe/Prague or UTC")
        raise ValueError(f"no time zone is called '{timezone}': {hint}") from None
    return timezone


def _nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean '{by_folded[found[0]]}'?" if found else otherwise


def parse_hours(mapping: Mapping[str, Any]) -> Week:
    """Read opening hours: weekdays (`mon`, `mon-fri`, `sat, sun`) to texts (`09:00-17:30`, `10:00-12:00, 13:00-15:00`).

    A weekday that is not named is closed; so is one with `closed` or null. `24:00` is midnight at the day's end.

    Raises:
        ValueError: a weekday or a time cannot be read, a weekday is named twice, stretches overlap, nothing is open.
    """
    if not isinstance(mapping, Mapping):
        raise ValueError(f"hours must map weekdays to times, such as mon-fri: \"09:00-17:30\", not '{mapping}'")
    week: list[Hours] = [()] * 7
    named: dict[int, str] = {}
    for key, text in mapping.items():
        hours = _parse_stretches(str(key), text)
        for day in _parse_weekdays(str(key)):
            if day in named:
                raise ValueError(f"{_DAYS[day]} has hours twice: under '{named[day]}' and under '{key}'")
            named[day] = str(key)
            week[day] = hours
    if not any(week):
        raise ValueError('hours name no open weekday: write such as mon-fri: "09:00-17:30"')
    monday, tuesday, wednesday, thursday, friday, saturday, sunday = week
    return monday, tuesday, wednesday, thursday, friday, saturday, sunday


def _parse_weekdays(key: str) -> Iterator[int]:
    for part in key.split(","):
        first, dash, last = (word.strip().lower() for word in part.partition("-"))
        start = _weekday(first)
        length = (_weekday(last) - start) % 7 if dash else 0
        yield from ((start + offset) % 7 for offset in range(length + 1))


def _weekday(word: str) -> int:
    if word[:3] in _DAYS and (len(word) == 3 or word in _FULL_DAYS):
        return _DAYS.index(word[:3])
    hint = _nearest(word, _DAYS, "write mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri")
    raise ValueError(f"no weekday is called '{word}': {hint}")


_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _parse_stretches(key: str, text: Any) -> Hours:
    if text is None or text == "closed":
        return ()
    if not isinstance(text, str):
        raise ValueError(f"the hours of '{key}' must be a text such as \"09:00-17:30\", not '{text}'")
    stretches = sorted(_parse_stretch(key, part) for part in text.split(","))
    for (_, end), (start, _) in pairwise(stretches):
        if start < end:
            raise ValueError(f"the hours of '{key}' overlap: '{text}'")
    return tuple((_time(start), _time(end)) for start, end in stretches)


def _parse_stretch(key: str, text: str) -> tuple[int, int]:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"the hours of '{key}' must be times such as 09:00-17:30, not '{text.strip()}'")
    from_hour, from_minute, to_hour, to_minute = (int(group) for group in found.groups())
    start, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    if from_minute > 59 or to_minute > 59 or start >= 1440 or end > 1440:
        raise ValueError(f"the hours of '{key}' must lie between 00:00 and 24:00, not '{text.strip()}'")
    if start >= end:
        raise ValueError(
            f"the hours of '{key}' end before they begin: '{text.strip()}'; "
            "write hours over midnight as two: 22:00-24:00, and 00:00-06:00 on the next day"
        )
    return start, end


def _time(minutes: int) -> time:
    return time(minutes // 60 % 24, minutes % 60)


# --- days off --------------------------------------------------------------------------------------------------------


def country_holidays(code: str) -> Callable[[int], frozenset[date]]:
    """Give the public holidays of a country (`CZ`) or of a part of it (`DE-BY`), as a function of the year.

    Raises:
        ValueError: the country or its part is not known; the message has the nearest code.
    """
    import holidays as library

    country, dash, part = code.partition("-")
    countries = library.list_supported_countries(include_aliases=True)
    if country not in countries:
        hint = _nearest(country, countries, "write an ISO 3166 code such as CZ or DE-BY")
        raise ValueError(f"no holidays are known for country '{country}': {hint}")
    if dash and part not in countries[country]:
        parts = ", ".join(sorted(countries[country])) or "it has none"
        raise ValueError(f"no part of {country} is called '{part}': {_nearest(part, countries[country], parts)}")
    return functools.partial(_country_year, country, part or None)


@functools.lru_cache(maxsize=1024)
def _country_year(country: str, part: str | None, year: int) -> frozenset[date]:
    import holidays as library

    return frozenset(library.country_holidays(country, subdiv=part, years=year, expand=False))


def holidays_from_ics(data: bytes) -> Callable[[int], frozenset[date]]:
    """Give the days that the all-day events of an iCalendar file cover, recurring ones too, as a function of the year.

    Events with times and cancelled ones do not count; transparent ones do: published holiday calendars are.

    Raises:
        ValueError: it cannot be read as an iCalendar file.
    """
    import icalendar
    import recurring_ical_events

    try:
        parsed = icalendar.Calendar.from_ical(data, multiple=True)
        queries = [recurring_ical_events.of(_all_day_events(calendar)) for calendar in parsed]
    except Exception as error:  # a file from outside may break the parsers in any way
        raise ValueError(f"cannot be read as an iCalendar file: {error}") from error
    if not queries:
        raise ValueError("cannot be read as an iCalendar file: it holds no VCALENDAR")

    @functools.lru_cache(maxsize=256)
    def of_year(year: int) -> frozenset[date]:
        first, last = date(year, 1, 1), date(year, 12, 31)
        occurrences = [event for query in queries for event in query.between(first, last + _DAY)]
        return frozenset(day for event in occurrences for day in _days_of(event) if first <= day <= last)

    return of_year


def _all_day_events(calendar: Any) -> Any:
    import icalendar

    kept = icalendar.Calendar()
    for event in calendar.walk("VEVENT"):
        if not isinstance(event["DTSTART"].dt, datetime) and str(event.get("STATUS", "")).upper() != "CANCELLED":
            kept.add_component(event)
    return kept


def _days_of(event: Any) -> Iterator[date]:
    day, end = event.start, event.end
    while day < end or day == event.start:
        yield day
        day += _DAY


def build_calendar(
    name: str,
    timezone: str,
    hours: Mapping[str, Any] | Week,
    holidays: Sequence[str | Holidays] = (),
) -> Calendar:
    """Build a calendar from what `calendars:` says.

    Args:
        name: what messages call it.
        timezone: IANA name.
        hours: what `parse_hours` reads, or read already.
        holidays: country codes, sets of dates, or functions from a year to its days off (`holidays_from_ics`).

    Raises:
        ValueError: the zone, the hours or a country is not known.
    """
    sources = [country_holidays(source) if isinstance(source, str) else source for source in holidays]
    week = hours if isinstance(hours, tuple) else parse_hours(hours)
    return Calendar(name, check_zone(timezone), week, _union(sources))


def _union(sources: Sequence[Holidays]) -> Holidays:
    dates: frozenset[date] = frozenset()
    functions = [source for source in sources if callable(source)]
    for source in sources:
        if not callable(source):
            dates |= source
    if not functions:
        return dates
    return functools.lru_cache(maxsize=256)(lambda year: dates.union(*(function(year) for function in functions)))


# --- arithmetic ------------------------------------------------------------------------------------------------------


def add(instant: datetime, duration: Duration, calendar: Calendar, sign: Literal[1, -1] = 1) -> datetime:
    """Add a duration to an instant, or take it away with sign -1; the result is in UTC.

    Months come first and clamp to the month's end, then working days, both by the calendar's local time and keeping
    the time of day, then exact seconds.

    Raises:
        ValueError: the instant has no zone, the calendar never opens, the result lies outside the years 1 to 9999.
    """
    if instant.tzinfo is None:
        raise ValueError(f"an instant must have a zone: {instant}")
    try:
        if not duration.exact:
            local = instant.astimezone(calendar.zone)
            day = _add_months(local.date(), sign * duration.months)
            day = _add_working_days(day, sign * duration.business_days, calendar)
            instant = _at(day, local.time(), calendar.zone)
        return instant.astimezone(UTC) + sign * _timedelta(duration.seconds)
    except OverflowError:
        raise ValueError(f"{duration} from {instant} lies outside the years 1 to 9999") from None


def subtract(instant: datetime, duration: Duration, calendar: Calendar) -> datetime:
    """Take a duration from an instant, as `add` adds it."""
    return add(instant, duration, calendar, -1)


def _add_months(day: date, months: int) -> date:
    if not months:
        return day
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _add_working_days(day: date, count: int, calendar: Calendar) -> date:
    if abs(count) > _MOST_WORKING_DAYS:
        raise ValueError(f"at most {_MOST_WORKING_DAYS} working days can be counted, not {abs(count)}")
    step = _DAY if count > 0 else -_DAY
    for _ in range(abs(count)):
        for _ in range(_LONGEST_CLOSURE):
            day += step
            if calendar.is_working_day(day):
                break
        else:
            raise calendar.never_opens()
    return day


def business_days_between(start: datetime, end: datetime, calendar: Calendar) -> int:
    """Count the working days after the local date of `start`, up to and with that of `end`; below zero backwards.

    So the count between an instant and the same plus `3bd` is 3 (but where the local time that was kept falls into a
    gap over midnight, as in Pyongyang on 4 May 2018).
    """
    first, last = (_aware(instant).astimezone(calendar.zone).date() for instant in (start, end))
    if last < first:
        return -_working_days(last, first - _DAY, calendar)
    return _working_days(first + _DAY, last, calendar)


def _working_days(first: date, last: date, calendar: Calendar) -> int:
    return sum(calendar.is_working_day(first + offset * _DAY) for offset in range((last - first).days + 1))


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"an instant must have a zone: {instant}")
    return instant


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """Give the instant of a local time: zoneinfo's fold 0 is the first of two, and moves over a gap."""
    return datetime.combine(day, clock.replace(fold=0), zone).astimezone(UTC)


def _exists(day: date, zone: ZoneInfo) -> bool:
    return _at(day, time(12), zone).astimezone(zone).date() == day


def local_day(instant: datetime, zone: ZoneInfo) -> Stretch:
    """Give the local day that an instant lies in."""
    day = _aware(instant).astimezone(zone).date()
    return _at(day, time.min, zone), _at(day + _DAY, time.min, zone)


def morning_after(instant: datetime, zone: ZoneInfo, calendar: Calendar) -> datetime:
    """Give when work begins on the local day after that of an instant, by a calendar's hours.

    A day off begins when work begins on other days.
    """
    midnight = local_day(instant, zone)[1]
    day = midnight.astimezone(zone).date()
    hours = calendar.hours[day.weekday()] or min((one for one in calendar.hours if one), default=())
    return max(midnight, _at(day, hours[0][0], calendar.zone)) if hours else midnight


# --- opening hours ---------------------------------------------------------------------------------------------------


def is_open(calendar: Calendar, instant: datetime) -> bool:
    """Whether the instant lies in working hours."""
    wall = _aware(instant).astimezone(calendar.zone).replace(tzinfo=None)
    hours = calendar.hours[wall.weekday()] if not calendar.is_holiday(wall.date()) else ()
    return any(opens <= wall.time() and (wall.time() < closes or closes == time.min) for opens, closes in hours)


def next_open(calendar: Calendar, instant: datetime) -> datetime:
    """Give the first instant in working hours at or after `instant`, in UTC.

    Raises:
        ValueError: the calendar never opens.
    """
    now, found = _aware(instant).astimezone(UTC), False
    soonest = datetime.max.replace(tzinfo=UTC)
    for stretches in _openings(calendar, now, None):
        late = found  # where clocks are set back over midnight, the next day may have begun before this one is over
        for start, end in stretches:
            if now < end:
                soonest, found = min(soonest, max(start, now)), True
        if late:
            break
    if not found:
        raise calendar.never_opens()
    return soonest


def open_intervals(calendar: Calendar, start: datetime, end: datetime) -> list[Stretch]:
    """Give the working hours between two instants: in order, in UTC, apart from each other, cut at both ends."""
    days = _openings(calendar, _aware(start), _aware(end))
    return intersect([stretch for stretches in days for stretch in stretches], [(start, end)])


def _openings(calendar: Calendar, start: datetime, end: datetime | None) -> Iterator[list[Stretch]]:
    """Give each day's stretches, from the local day before `start` to the day after `end` or the longest closure."""
    zone = calendar.zone
    day = start.astimezone(zone).date() - _DAY
    last = (start + timedelta(days=_LONGEST_CLOSURE) if end is None else end).astimezone(zone).date() + _DAY
    while day <= last:
        if calendar.is_working_day(day):
            hours = calendar.hours[day.weekday()]
            yield [stretch for opens, closes in hours for stretch in _shown(day, opens, closes, zone)]
        else:
            yield []
        day += _DAY


def _shown(day: date, opens: time, closes: time, zone: ZoneInfo) -> Iterator[Stretch]:
    """Give when a clock on the wall shows a time of a day within hours."""
    first = datetime.combine(day, opens)
    last = datetime.combine(day if closes > time.min else day + _DAY, closes)
    offsets = {_offset(wall, fold, zone) for wall in (first, last) for fold in (0, 1)}
    begin, end = (first - max(offsets)).replace(tzinfo=UTC), (last - min(offsets)).replace(tzinfo=UTC)
    if len(offsets) == 1:
        yield begin, end
        return
    while begin < end:
        offset = begin.astimezone(zone).utcoffset() or timedelta(0)
        until = _next_change(begin, end, zone)
        start = max(begin, (first - offset).replace(tzinfo=UTC))
        finish = min(until, (last - offset).replace(tzinfo=UTC))
        if start < finish:
            yield start, finish
        begin = until


def _offset(wall: datetime, fold: int, zone: ZoneInfo) -> timedelta:
    return wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0)


def _next_change(begin: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """Give the first instant between two at which the zone's offset is another, to the second, else the later one."""
    old = begin.astimezone(zone).utcoffset()
    low = begin
    while low < end and min(low + _STEP, end).astimezone(zone).utcoffset() == old:
        low = min(low + _STEP, end)
    if low >= end:
        return end
    high = min(low + _STEP, end)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == old else (low, middle)
    return high


# --- stretches of time -----------------------------------------------------------------------------------------------


def merge(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Give the same time as stretches in order that neither overlap nor touch, in UTC."""
    merged: list[Stretch] = []
    for start, end in sorted((start.astimezone(UTC), end.astimezone(UTC)) for start, end in stretches if start < end):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def intersect(first: Iterable[Stretch], second: Iterable[Stretch]) -> list[Stretch]:
    """Give the time that lies in both, merged."""
    left, right = merge(first), merge(second)
    common: list[Stretch] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            common.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return common


def without(stretches: Iterable[Stretch], taken: Iterable[Stretch]) -> list[Stretch]:
    """Give the time of `stretches` that is not in `taken`, merged."""
    busy = merge(taken)
    left: list[Stretch] = []
    j = 0
    for start, end in merge(stretches):
        while j < len(busy) and busy[j][1] <= start:
            j += 1
        k = j
        while k < len(busy) and busy[k][0] < end:
            if start < busy[k][0]:
                left.append((start, busy[k][0]))
            start = busy[k][1]
            k += 1
        if start < end:
            left.append((start, end))
    return left


# --- the search for a slot -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Diary:
    """When somebody works and when they are taken; any order, overlaps allowed."""

    who: str
    open: Sequence[Stretch]
    busy: Sequence[Stretch] = ()


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a start was passed over: somebody is taken or not at work, and until when, as far as the window goes."""

    start: datetime
    who: str
    kind: Literal["busy", "closed"]
    until: datetime | None = None  #: when what stands against it ends
    free_from: datetime | None = None  #: when their next free time begins that is long enough


@dataclass(frozen=True, slots=True)
class Search:
    """What the search for a slot found. `slot` is None where there is none.

    `passed_over` holds the earlier starts that were looked at and who stood against each. `impossible` says who alone
    makes every slot impossible: `closed` has no working hours in the window, `short` no stretch of them that is long
    enough, `busy` is taken in all of them. Where there is no slot and nobody is named, no time suits all at once.
    `absent` are those who may stay away and whom the slot does not suit; `forgone` is the first start that was left
    because more of them can come to the slot.
    """

    slot: Stretch | None
    passed_over: tuple[Hindrance, ...] = ()
    impossible: Mapping[str, Literal["closed", "short", "busy"]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    forgone: datetime | None = None


class _Agenda:
    """One person's diary cut to the window, ready to be asked about starts."""

    def __init__(
        self, diary: Diary, window: Stretch, length: timedelta, first_start: Callable[[datetime], datetime]
    ) -> None:
        self.who = diary.who
        self.length = length
        self.open = intersect(diary.open, [window])
        self.busy = merge(diary.busy)
        free = without(self.open, self.busy)
        self.free = [(start, end) for start, end in free if first_start(start) + length <= end]
        self.long_enough = any(first_start(start) + length <= end for start, end in self.open)

    def impossible(self) -> Literal["closed", "short", "busy"] | None:
        if self.free:
            return None
        if not self.open:
            return "closed"
        return "busy" if self.long_enough else "short"

    def suits(self, start: datetime) -> bool:
        return _covering(self.free, start, start + self.length)

    def hindrance(self, start: datetime) -> Hindrance | None:
        """Say why the slot that begins at `start` does not suit; None where it does."""
        if self.suits(start):
            return None
        if _covering(self.open, start, start + self.length):
            first = bisect_right(self.busy, start, key=itemgetter(1))
            return Hindrance(start, self.who, "busy", self.busy[first][1], _next_start(self.free, start))
        return Hindrance(start, self.who, "closed", _next_start(self.open, start), _next_start(self.free, start))


def _next_start(stretches: Sequence[Stretch], after: datetime) -> datetime | None:
    index = bisect_right(stretches, after, key=itemgetter(0))
    return stretches[index][0] if index < len(stretches) else None


def _covering(stretches: Sequence[Stretch], start: datetime, end: datetime) -> bool:
    index = bisect_right(stretches, start, key=itemgetter(0)) - 1
    return index >= 0 and end <= stretches[index][1]


def first_slot(
    diaries: Sequence[Diary],
    start: datetime,
    end: datetime,
    length: timedelta,
    timezone: str,
    granularity: timedelta = timedelta(minutes=15),
    optional: Sequence[Diary] = (),
) -> Search:
    """Find the first time in which everybody works and nobody is taken.

    Among those, times that suit more of the people who may stay away go first.

    Args:
        diaries: one for each person who must come; with none, every time suits.
        start: the earliest start.
        end: the latest end.
        length: how long the slot is, above zero.
        timezone: in whose local time starts lie on whole steps of `granularity`, counted from midnight.
        granularity: the step.
        optional: one for each person who may stay away.

    Raises:
        ValueError: the length or the step is not above zero, or an instant has no zone.
    """
    if length <= timedelta(0) or granularity <= timedelta(0):
        raise ValueError("the length of a slot and its step must be above zero")
    window = (_aware(start).astimezone(UTC), _aware(end).astimezone(UTC))
    round_up = functools.partial(_round_up, step=granularity, zone=ZoneInfo(timezone))
    agendas = [_Agenda(diary, window, length, round_up) for diary in diaries]
    passed_over: list[Hindrance] = []
    starts = _suiting(agendas, window, length, round_up, passed_over)
    first = next(starts, None)
    if first is None:
        impossible = {agenda.who: why for agenda in agendas if (why := agenda.impossible())}
        return Search(None, tuple(passed_over), impossible)
    told = tuple(passed_over)
    others = [_Agenda(diary, window, length, round_up) for diary in optional]
    best, absent = _with_most(others, first, starts)
    return Search((best, best + length), told, absent=absent, forgone=first if best != first else None)


def _suiting(
    agendas: Sequence[_Agenda],
    window: Stretch,
    length: timedelta,
    round_up: Callable[[datetime], datetime],
    passed_over: list[Hindrance],
) -> Iterator[datetime]:
    """Give the starts that suit everybody, in order; why others do not is added to `passed_over` on the way."""
    candidate = round_up(window[0])
    while candidate + length <= window[1]:
        hindrances = [found for agenda in agendas if (found := agenda.hindrance(candidate))]
        if not hindrances:
            yield candidate
            candidate = round_up(candidate + timedelta.resolution)
            continue
        passed_over += hindrances
        later = [found.free_from for found in hindrances if found.free_from is not None]
        if len(later) < len(hindrances):
            return
        candidate = round_up(max(later))


def _with_most(
    others: Sequence[_Agenda], first: datetime, starts: Iterable[datetime]
) -> tuple[datetime, tuple[str, ...]]:
    """Give the earliest of the starts that suit the most people, and whom it does not suit."""
    never = sum(not agenda.free for agenda in others)
    best, fewest = first, [agenda.who for agenda in others if not agenda.suits(first)]
    if len(fewest) > never:
        for start in starts:
            absent = [agenda.who for agenda in others if not agenda.suits(start)]
            if len(absent) < len(fewest):
                best, fewest = start, absent
                if len(absent) == never:
                    break
    return best, tuple(fewest)


def _round_up(instant: datetime, step: timedelta, zone: ZoneInfo) -> datetime:
    """Give the first instant from `instant` on that lies on a whole step of its own day's local time."""
    local = instant.astimezone(zone)
    wall = local.replace(tzinfo=None)
    midnight = datetime.combine(wall.date(), time.min)
    over = (wall - midnight) % step
    if not over:
        return instant
    rounded = min(wall - over + step, midnight + _DAY)
    # The clock may be set in between: then the time that is reached has to be rounded once more.
    return _round_up(instant + (rounded - wall), step, zone)
