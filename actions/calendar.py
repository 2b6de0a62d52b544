"""Book time with people: find the first slot that suits them all, and invite them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

from engine import calendars, domain
from engine.calendars import Diary, Hindrance, Search, first_slot, open_intervals
from engine.capabilities import Interval
from engine.domain import Review
from engine.plugins import Action, ActionError, Context, Duration, Field, Instant, Params, Person, Text, action

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST_SEARCH = timedelta(days=366)
_SHOWN_STARTS = 3
_SHOWN_NAMES = 4
_MARKUP = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>()#+-!|~"})

Busy = Mapping[str, Sequence[Interval] | None]


def _meeting_length(length: calendars.Duration) -> calendars.Duration:
    if not length.exact or not 0 < length.seconds <= 86400:
        raise ValueError(f"must be the length of a meeting, such as 45m, and at most 1d: not {length}")
    return length


class ScheduleReview(Params):
    """Book the first slot in which all attendees are free inside their own working hours.

    Attendees who are neither in the roster nor have an e-mail address are left out, and named in the description.
    When nobody is left, the workflow's owner is invited. Where no slot suits everybody, the step fails and says why.

    Example:
        uses: calendar.schedule
        with:
          title: "Postmortem review: ${{ incident.title }}"
          attendees: ${{ incident.participants }}
          duration: 45m
          within: 5bd
          description: ${{ steps.doc.url }}
    """

    title: str = Field(min_length=1, max_length=300, description="What the meeting is called.")
    attendees: list[Person] = Field(description="Who should come.")
    duration: Annotated[Duration, AfterValidator(_meeting_length)] = Field(
        default=calendars.Duration(2700), description="How long it takes, such as 45m."
    )
    within: Duration = Field(
        default=calendars.Duration(0, 5), description="How far ahead to look, counted from now, such as 5bd."
    )
    not_before: Instant | Duration | None = Field(
        default=None, description="The earliest start: an instant, or a duration counted from now."
    )
    description: Text | None = Field(default=None, description="What the invitation says, in Markdown.")


@action("calendar.schedule", ScheduleReview, returns=Review, lasts=True, via="calendar.create")
async def schedule(params: ScheduleReview, ctx: Context) -> Review:
    """Look into the calendars, choose, and book.

    A calendar provider that has `find(effect)` is asked first, so that a repeated attempt gives the review that an
    earlier one booked, instead of finding its attendees busy with it.
    """
    people = _each_once([ctx.people.join(person) for person in params.attendees])
    find = getattr(ctx.calendar, "find", None)
    booked: Review | None = await find(ctx.effect) if find else None
    if booked is not None:
        invited = {person.id for person in booked.attendees}
        left_out = tuple(person for person in people if person.id not in invited)
        return replace(booked, left_out=left_out, reason="booked by an earlier attempt of this step")
    start, end = _window(params, ctx)
    attendees, left_out, busy = await _attendees(people, ctx, start, end)
    found = _search(attendees, busy, ctx, start, end, params)
    if found.slot is None:
        raise ActionError(_no_slot(found, attendees, params, end, ctx.zone), code="no-slot")
    review = await ctx.calendar.create(
        params.title,
        *found.slot,
        attendees=attendees,
        description=_description(params.description or "", left_out, people, attendees),
        timezone=ctx.zone,
        incident=ctx.incident.id if ctx.incident else None,
        effect=ctx.effect,
    )
    return replace(review, left_out=left_out, reason=_reason(found, attendees, busy, params, ctx.zone))


def _each_once(people: Sequence[domain.Person]) -> list[domain.Person]:
    """Give everybody once, by id and by e-mail address."""
    once: list[domain.Person] = []
    seen: set[str] = set()
    for person in people:
        keys = {person.id} | ({person.email.casefold()} if person.email else set())
        if not keys & seen:
            once.append(person)
        seen |= keys
    return once


def _window(params: ScheduleReview, ctx: Context) -> tuple[datetime, datetime]:
    hours, now = ctx.hours_of(None), ctx.now
    try:
        end = calendars.add(now, params.within, hours)
        early = params.not_before
        if isinstance(early, calendars.Duration):
            early = calendars.add(now, early, hours)
    except ValueError as error:
        raise ActionError(f"no slot can be looked for: {error}") from error
    if end - now > _LONGEST_SEARCH:
        raise ActionError(f"'within' may reach a year ahead, not {params.within}")
    start = max(now + timedelta(microseconds=1), early or now)
    if start + params.duration.timedelta() > end:
        raise ActionError(
            f"no slot can be looked for: between the earliest start, {_moment(start, ctx.zone)}, and the end of "
            f"'within', {_moment(end, ctx.zone)}, are less than {_length(params.duration)}"
        )
    return start, end


async def _attendees(
    people: Sequence[domain.Person], ctx: Context, start: datetime, end: datetime
) -> tuple[list[domain.Person], tuple[domain.Person, ...], Busy]:
    """Give who is invited, who is left out, and when the invited are busy as far as known."""
    busy = await ctx.calendar.busy(people, start, end) if people else {}
    attendees = [person for person in people if person.known or person.email or busy.get(person.id) is not None]
    left_out = tuple(person for person in people if person not in attendees)
    if attendees:
        return attendees, left_out, busy
    if ctx.owner is None:
        who = f"{_names(left_out)} cannot be reached" if left_out else "there are no attendees"
        raise ActionError(f"nobody can be invited: {who}, and the workflow has no owner", code="nobody-to-invite")
    return [ctx.owner], left_out, await ctx.calendar.busy([ctx.owner], start, end)


def _search(
    attendees: Sequence[domain.Person], busy: Busy, ctx: Context, start: datetime, end: datetime, params: ScheduleReview
) -> Search:
    diaries = [
        Diary(
            person.id,
            open_intervals(ctx.hours_of(person), start, end),
            [(interval.start, interval.end) for interval in busy.get(person.id) or ()],
        )
        for person in attendees
    ]
    return first_slot(diaries, start, end, params.duration.timedelta(), ctx.zone)


# --- what is said about it -------------------------------------------------------------------------------------------


def _description(
    text: str,
    left_out: Sequence[domain.Person],
    people: Sequence[domain.Person],
    attendees: Sequence[domain.Person],
) -> str:
    """Give the invitation's Markdown: what the workflow says, then who could not be invited."""
    parts = [text] if text.strip() else []
    if left_out:
        names = ", ".join(_escaped(person.name) for person in left_out)
        parts.append(f"Not invited, because neither a roster entry nor an e-mail address is known: {names}.")
    if not any(person in people for person in attendees):
        parts.append(f"{_escaped(attendees[0].name)} is invited as the owner of the workflow.")
    return "\n\n".join(parts)


def _escaped(name: str) -> str:
    return " ".join(name.split()).translate(_MARKUP)


def _reason(
    found: Search, attendees: Sequence[domain.Person], busy: Busy, params: ScheduleReview, timezone: str
) -> str:
    names = {person.id: person.name for person in attendees}
    are = "is" if len(attendees) == 1 else "are"
    parts = [
        f"first {_length(params.duration)} within {params.within} when {_names(attendees)} {are} free "
        "in their own hours"
    ]
    parts += _passed_over(found.passed_over, names, params.duration, timezone)
    unknown = [person for person in attendees if busy.get(person.id) is None]
    if unknown:
        parts.append(f"no calendar of {_names(unknown)} was found: only the working hours were looked at")
    return "; ".join(parts)


def _passed_over(
    hindrances: Sequence[Hindrance], names: Mapping[str, str], length: calendars.Duration, timezone: str
) -> list[str]:
    """Tell of the first starts that did not suit, but for those at which nobody is at work."""
    told: list[str] = []
    for start, group in groupby(hindrances, key=lambda hindrance: hindrance.start):
        against = list(group)
        if len(against) == len(names) and all(hindrance.kind == "closed" for hindrance in against):
            continue
        clauses = [_clause(hindrance, names[hindrance.who], length, timezone) for hindrance in against]
        told.append(f"{_moment(start, timezone)}: {_and(clauses, 'others')}")
    more = len(told) - _SHOWN_STARTS
    return told if more <= 0 else [*told[:_SHOWN_STARTS], f"{more} later start{'s' if more > 1 else ''} did not suit"]


def _clause(hindrance: Hindrance, name: str, length: calendars.Duration, timezone: str) -> str:
    clause = f"{name} is busy" if hindrance.kind == "busy" else f"{name} is not at work"
    if hindrance.until is None:
        return clause
    clause += f" until {_later(hindrance.until, hindrance.start, timezone)}"
    if hindrance.free_from is None or hindrance.free_from <= hindrance.until:
        return clause
    free = _later(hindrance.free_from, hindrance.until, timezone)
    return f"{clause} and has no {_length(length)} free before {free}"


def _later(instant: datetime, than: datetime, timezone: str) -> str:
    """Give an instant by its time alone where the other one, told before it, is of the same day."""
    same_day = _local(instant, timezone).date() == _local(than, timezone).date()
    return f"{_local(instant, timezone):%H:%M}" if same_day else _moment(instant, timezone)


_WHY = {
    "closed": "has no working hours in this time",
    "short": "has no stretch of working hours that is long enough",
    "busy": "is busy in all of their working hours",
}


def _no_slot(
    found: Search, attendees: Sequence[domain.Person], params: ScheduleReview, end: datetime, timezone: str
) -> str:
    whys = [
        f"{person.name} {_WHY[found.impossible[person.id]]}" for person in attendees if person.id in found.impossible
    ]
    why = "; ".join(whys) or f"{_names(attendees)} are free at times, but never all at once"
    return (
        f"no {_length(params.duration)} within {params.within} (until {_moment(end, timezone)}) suit everybody: {why}"
    )


def _names(people: Sequence[domain.Person]) -> str:
    return _and([person.name for person in people], "others")


def _and(parts: Sequence[str], others: str) -> str:
    if len(parts) > _SHOWN_NAMES:
        parts = [*parts[: _SHOWN_NAMES - 1], f"{len(parts) - _SHOWN_NAMES + 1} {others}"]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _length(length: calendars.Duration) -> str:
    hours, minutes = divmod(round(length.seconds / 60), 60)
    words = [f"{hours} hour{'s' if hours > 1 else ''}"] if hours else []
    words += [f"{minutes} minute{'s' if minutes > 1 else ''}"] if minutes else []
    return " ".join(words) or str(length)


def _local(instant: datetime, timezone: str) -> datetime:
    return instant.astimezone(ZoneInfo(timezone))


def _moment(instant: datetime, timezone: str) -> str:
    """Give an instant as people say it, such as `Mon 2 Mar 10:00 CET`."""
    local = _local(instant, timezone)
    return f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local:%H:%M %Z}"


ALL: tuple[Action, ...] = (schedule,)
