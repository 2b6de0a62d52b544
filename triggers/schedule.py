"""Start workflows by the clock: `schedule`, and the cron arithmetic that polls share with it.

A cron counts in the local time of its zone. Where clocks are set back, one with a fixed hour fires in the first of the
two hours only; where they are set forward, it fires at the first instant that exists. One whose hour is `*` follows
the time that passes: it fires in both of the repeated hours, and not at all in a skipped one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import field_validator, model_validator

from engine.calendars import check_zone
from engine.domain import Event
from engine.plugins import Check, Due, Duration, Fact, Field, Params, trigger

#: A schedule that could not be looked at within this time of its instant has missed it.
LATE = timedelta(minutes=1)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_TICK = timedelta(microseconds=1)
#: No zone repeats more than this since 1970, the changes of the date line apart.
_LONGEST_REPEAT = timedelta(hours=3)


# --- cron ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FieldRange:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  #: names of the values from `low` on

    @property
    def allowed(self) -> str:
        named = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        return f"{self.low}-{self.high}{named}"


_FIELDS = (
    _FieldRange("minute", 0, 59),
    _FieldRange("hour", 0, 23),
    _FieldRange("day of month", 1, 31),
    _FieldRange("month", 1, 12, _MONTHS),
    _FieldRange("weekday", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression as read: the values that each field allows. Weekdays count from Sunday = 0."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def fixed_hour(self) -> bool:
        """Whether it names hours, and does not run in every one."""
        return len(self.hours) < 24

    def walls(self, after: datetime) -> Iterator[datetime]:
        """Give the local times after a local time that its fields name, in order, as naive datetimes."""
        while True:
            found = _computed(self).get_next_fire_time(None, (after + _TICK).replace(tzinfo=UTC))
            after = found.replace(tzinfo=None)
            yield after


@lru_cache(maxsize=256)
def parse_cron(text: str) -> Cron:
    """Read five fields: minute, hour, day of month, month, weekday.

    A field is `*`, a value, a range `9-17`, a step `*/15` or `9-17/2`, or several of these with commas. Months and
    weekdays have their English names of three letters; Sunday is 0 and 7.

    Raises:
        ValueError: a field cannot be read, day of month and weekday are both named, or no such day ever comes.
    """
    words = text.split()
    if len(words) != 5:
        raise ValueError(
            "a cron has five fields (minute, hour, day of month, month, weekday) such as '0 9 * * mon-fri', "
            f"not '{text}'"
        )
    minutes, hours, days, months, weekdays = (_values(word, kind) for word, kind in zip(words, _FIELDS, strict=True))
    weekdays = frozenset(day % 7 for day in weekdays)
    if len(days) < 31 and len(weekdays) < 7:
        raise ValueError(
            f"a cron names a day of month or a weekday, not both: '{words[2]}' and '{words[4]}'; "
            "write * for one, and the condition in the workflow's 'if'"
        )
    if all(min(days) > _LONGEST_MONTH.get(month, 31) for month in months):
        raise ValueError(f"no month has such a day: day of month '{words[2]}' in month '{words[3]}' never comes")
    return Cron(text, minutes, hours, days, months, weekdays)


def _values(word: str, kind: _FieldRange) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        low, high = _bounds(span, kind, part)
        if slash and span != "*" and "-" not in span:
            raise ValueError(f"{kind.name} '{part}' has a step without a range: write '{span}-{kind.high}/{step}'")
        if slash and not (step.isdecimal() and step.isascii() and 1 <= int(step[:4]) <= kind.high):
            raise ValueError(f"the step of {kind.name} must be 1-{kind.high}, not '{step}'")
        values.update(range(low, high + 1, int(step) if slash else 1))
    return frozenset(values)


def _bounds(span: str, kind: _FieldRange, part: str) -> tuple[int, int]:
    if span == "*":
        return kind.low, 6 if kind.names is _WEEKDAYS else kind.high
    first, dash, last = span.partition("-")
    low = _value(first, kind)
    high = _value(last, kind) if dash else low
    if kind.names is _WEEKDAYS and dash and high == 0:
        high = 7  # fri-sun
    if high < low:
        raise ValueError(f"{kind.name} '{part}' runs backwards: write it as two with a comma, {kind.allowed} each")
    return low, high


def _value(word: str, kind: _FieldRange) -> int:
    if word.isdecimal() and word.isascii() and len(word) <= 4 and kind.low <= int(word) <= kind.high:
        return int(word)
    if word.lower() in kind.names:
        return kind.names.index(word.lower()) + kind.low
    raise ValueError(f"{kind.name} must be {kind.allowed}, *, a range, a step such as */2 or a list, not '{word}'")


@lru_cache(maxsize=256)
def _computed(cron: Cron) -> Any:
    """Give APScheduler's trigger for the fields, in a zone without changes; it counts weekdays from Monday = 0."""
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger(
        month=_listed(cron.months, 12),
        day=_listed(cron.days, 31),
        day_of_week=_listed(frozenset((day - 1) % 7 for day in cron.weekdays), 7),
        hour=_listed(cron.hours, 24),
        minute=_listed(cron.minutes, 60),
        second=0,
        timezone=UTC,
    )


def _listed(values: frozenset[int], count: int) -> str:
    return "*" if len(values) == count else ",".join(map(str, sorted(values)))


def next_after(cron: Cron, instant: datetime, zone: ZoneInfo) -> datetime:
    """Give the first instant after `instant` at which a cron fires in a zone, in UTC."""
    local = instant.astimezone(zone)
    wall = local.replace(tzinfo=None, fold=0)
    if not cron.fixed_hour:
        wall -= _repeated_soon(local, instant, zone)
    best: datetime | None = None
    for candidate in cron.walls(wall):
        instants = _instants(candidate, zone, fixed=cron.fixed_hour)
        for found in instants:
            if found > instant and (best is None or found < best):
                best = found
        if best is not None and instants and instants[0] >= best:
            return best
    raise AssertionError("a cron that was read has a next instant")  # walls() does not end


def _repeated_soon(local: datetime, instant: datetime, zone: ZoneInfo) -> timedelta:
    """Give by how much clocks are set back in the next hours: local times before the present one come again."""
    soon = (instant + _LONGEST_REPEAT).astimezone(zone)
    return max(timedelta(0), (local.utcoffset() or timedelta(0)) - (soon.utcoffset() or timedelta(0)))


def _instants(wall: datetime, zone: ZoneInfo, *, fixed: bool) -> list[datetime]:
    """Give the instants of a local time, in UTC: two where it is repeated, none where it is skipped.

    With `fixed`, always one: the first of two, or the first that exists after the gap.
    """
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first > second:
        return [_end_of_gap(second, first, zone)] if fixed else []
    return [first] if fixed or first == second else [first, second]


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Give the instant between two at which the zone's offset changes, to the second."""
    old = before.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


# --- rhythms ---------------------------------------------------------------------------------------------------------


class Rhythm(Params):
    """When to look: a cron in a time zone, or every so often.

    Example:
        on:
          ticket.stale:
            for: 7d
            poll: {cron: "15 9 * * mon-fri", timezone: Europe/Prague}
    """

    cron: str | None = Field(
        default=None, description="Minute, hour, day of month, month and weekday, such as `15 9 * * mon-fri`."
    )
    timezone: str | None = Field(
        default=None, description="IANA zone that the cron counts in; by default the project's."
    )
    every: Duration | None = Field(
        default=None, description="A length of time in its place, counted from the first load."
    )

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        return parse_cron(value).text if value is not None else None

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, value: str | None) -> str | None:
        return check_zone(value) if value is not None else None

    @field_validator("every")
    @classmethod
    def _countable(cls, value: Duration | None) -> Duration | None:
        if value is None:
            return None
        if not value.exact:
            raise ValueError(f"must be an exact length such as 30m or 7d, not '{value}'; a cron counts by the calendar")
        if value.seconds < 1:
            raise ValueError(f"must be 1s or longer, not '{value}'")
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> Rhythm:
        if (self.cron is None) == (self.every is None):
            raise ValueError("give either 'cron' or 'every'")
        if self.timezone is not None and self.cron is None:
            raise ValueError("'timezone' goes with 'cron': 'every' counts the time that passes")
        return self

    def next_after(self, instant: datetime, zone: str) -> datetime:
        """Give the next instant after one, in UTC. `zone` is the project's; `every` counts from `instant`."""
        if self.every is not None:
            return instant.astimezone(UTC) + self.every.timedelta()
        assert self.cron is not None
        return next_after(parse_cron(self.cron), instant, ZoneInfo(self.timezone or zone))

    def from_to(self, first: datetime, last: datetime, zone: str) -> Iterator[datetime]:
        """Give `first`, which is one of its instants, and those after it up to `last`."""
        while first <= last:
            yield first
            first = self.next_after(first, zone)

    def latest(self, first: datetime, last: datetime, zone: str) -> datetime:
        """Give its latest instant up to `last`, from `first` on, which is one."""
        if self.every is not None:
            length = self.every.timedelta()
            return first + (last - first) // length * length
        window = timedelta(hours=1)
        while (start := last - window) > first:
            found = list(self.from_to(self.next_after(start, zone), last, zone))
            if found:
                return found[-1]
            window *= 4
        return list(self.from_to(first, last, zone))[-1]


def next_due(params: Rhythm, instant: datetime, zone: str) -> datetime:
    """Give the next instant of a rhythm, as `engine.plugins.Trigger.next_due` asks for it."""
    return params.next_after(instant, zone)


# --- the trigger -----------------------------------------------------------------------------------------------------


class Schedule(Rhythm):
    """Start at set times, by a cron in a time zone or every so often.

    Example:
        on:
          schedule: {cron: "0 9 * * mon", timezone: Europe/Prague}
    """

    missed: Literal["once", "skip", "all"] = Field(
        default="once",
        description="What times that passed while the engine was down do: start `once`, `all`, or `skip`.",
    )


def _spoken(params: Schedule) -> dict[str, str]:
    """Give what tells one schedule from another."""
    return {name: str(value) for name in ("cron", "timezone", "every") if (value := getattr(params, name)) is not None}


def _once_per_instant(params: Schedule, event: Event) -> tuple[Any, ...]:
    return (event.time.astimezone(UTC).isoformat(),)


async def _occasions(params: Schedule, check: Check) -> Sequence[Due]:
    """Give the instants from the one that was due up to now: all, the latest, or those that are not late."""
    if check.due > check.now:
        return []
    if params.missed == "once":
        instants = [params.latest(check.due, check.now, check.zone)]
    elif params.missed == "skip":
        latest = params.latest(check.due, check.now, check.zone)
        instants = [latest] if check.now - latest <= LATE else []
    else:
        instants = list(params.from_to(check.due, check.now, check.zone))
    data = _spoken(params)
    return [Due(Fact("schedule", instant, data=data), (instant.astimezone(UTC).isoformat(),)) for instant in instants]


@trigger(
    "schedule",
    Schedule,
    subject=None,
    key=_once_per_instant,
    next_due=next_due,
    check=_occasions,
    own_may_start=True,
)
def schedule(params: Schedule, event: Event) -> bool:
    """Fit the ticks of a schedule that is written the same: two workflows may share one."""
    return event.data == _spoken(params)
