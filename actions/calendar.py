"""Book time with people: find the first slot that suits them all, invite them, move it, call it off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

from engine import calendars, domain
from engine.calendars import Diary, Hindrance, Search, first_slot, open_intervals
from engine.capabilities import Interval
from engine.domain import Review
from engine.plugins import (
    Action,
    ActionError,
    Context,
    Duration,
    Field,
    Instant,
    Params,
    Person,
    ReviewRef,
    Text,
    action,
)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST_SEARCH = timedelta(days=366)
_SHOWN_STARTS = 3
_SHOWN_NAMES = 4
_HAD = ""  #: stands among people for the time that a review has had
_MARKUP = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>()#+-!|~"})

_REVIEW = "The review, or its id; by default the one the run is about."
_WITHIN = "How far ahead to look, counted from now, such as 5bd."
_NOT_BEFORE = "The earliest start: an instant, or a duration counted from now."

Busy = Mapping[str, Sequence[Interval] | None]


@dataclass(frozen=True, slots=True)
class _Invited:
    """Who is invited, who of all that were named cannot be, and when the invited are busy as far as known."""

    required: Sequence[domain.Person]
    optional: Sequence[domain.Person] = ()
    left_out: tuple[domain.Person, ...] = ()
    busy: Busy = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What slot is looked for. `had` is the time of a review that is to be moved."""

    start: datetime
    end: datetime
    length: calendars.Duration
    within: calendars.Duration
    had: calendars.Stretch | None = None


def _meeting_length(length: calendars.Duration) -> calendars.Duration:
    if not length.exact or not 0 < length.seconds <= 86400:
        raise ValueError(f"must be the length of a meeting, such as 45m, and at most 1d: not {length}")
    return length


Length = Annotated[Duration, AfterValidator(_meeting_length)]


class ScheduleReview(Params):
    """Book the first slot in which all attendees are free inside their own working hours.

    Optional attendees never stand in the way: of the slots that suit all attendees, one that suits most of the
    optional ones is taken, the earliest of these. Whoever is invited and cannot come at that time is named in `reason`.

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
    optional: list[Person] = Field(default=[], description="Who is invited and may stay away.")
    duration: Length = Field(default=calendars.Duration(2700), description="How long it takes, such as 45m.")
    within: Duration = Field(default=calendars.Duration(0, 5), description=_WITHIN)
    not_before: Instant | Duration | None = Field(default=None, description=_NOT_BEFORE)
    description: Text | None = Field(default=None, description="What the invitation says, in Markdown.")


@action("calendar.schedule", ScheduleReview, returns=Review, lasts=True, via="calendar.create")
async def schedule(params: ScheduleReview, ctx: Context) -> Review:
    """Look into the calendars, choose, and book.

    A calendar provider that has `find(effect)` is asked first, so that a repeated attempt gives the review that an
    earlier one booked, instead of finding its attendees busy with it.
    """
    required = _each_once([ctx.people.join(person) for person in params.attendees])
    people = _each_once([*required, *(ctx.people.join(person) for person in params.optional)])
    booked = await _found(ctx)
    if booked is not None:
        invited = {person.id for person in booked.attendees}
        left_out = tuple(person for person in people if person.id not in invited)
        return replace(booked, left_out=left_out, reason="booked by an earlier attempt of this step")
    wish = _wish(params.within, params.not_before, params.duration, ctx)
    who = await _invited(required, people[len(required) :], ctx, wish)
    found = _search(who, ctx, wish)
    if found.slot is None:
        raise ActionError(_no_slot(found, who, wish, ctx.zone), code="no-slot")
    review = await ctx.calendar.create(
        params.title,
        *found.slot,
        attendees=who.required,
        optional=who.optional,
        description=_description(params.description or "", who, people),
        timezone=ctx.zone,
        incident=ctx.incident.id if ctx.incident else None,
        private=ctx.incident is not None and ctx.is_private(ctx.incident.id),
        effect=ctx.effect,
    )
    left_out = (*who.left_out, *review.left_out)
    return replace(review, left_out=left_out, reason=_reason(found, who, wish, ctx.zone))


class RescheduleReview(Params):
    """Move a review to the first other slot that suits everybody invited, and tell them.

    The slot is looked for as `calendar.schedule` does, among the times that do not overlap the one it has. A review
    that lies in the past, or was called off, is booked again. Where no slot suits everybody, the step fails, says why,
    and the review stays where it is.

    Example:
        uses: calendar.reschedule
        with:
          review: ${{ steps.review.id }}
          within: 3bd
    """

    review: ReviewRef | None = Field(default=None, description=_REVIEW)
    duration: Length | None = Field(default=None, description="How long it takes; by default as long as it took.")
    within: Duration = Field(default=calendars.Duration(0, 5), description=_WITHIN)
    not_before: Instant | Duration | None = Field(default=None, description=_NOT_BEFORE)


@action("calendar.reschedule", RescheduleReview, returns=Review, lasts=False)
async def reschedule(params: RescheduleReview, ctx: Context) -> Review:
    """Look into the calendars of those invited, choose another time, and move it there.

    `find(effect)` of a provider is asked first, so that a repeated attempt does not move it once more.
    """
    moved = await _found(ctx)
    if moved is not None:
        return replace(moved, reason="moved by an earlier attempt of this step")
    review = await _existing(params.review, ctx)
    if review.start is None or review.end is None:
        raise ActionError(f"'{review.title}' has no time that it could be moved from")
    length = params.duration or calendars.Duration((review.end - review.start).total_seconds())
    wish = _wish(params.within, params.not_before, length, ctx)
    if not review.cancelled:
        wish = replace(wish, had=(review.start, review.end))
    people = [ctx.people.join(person) for person in review.attendees]
    may_stay = {ctx.people.join(person).id for person in review.optional}
    required = [person for person in people if person.id not in may_stay]
    optional = [person for person in people if person.id in may_stay]
    busy = await ctx.calendar.busy(people, wish.start, wish.end, without=review.id)
    who = _Invited(required, optional, busy=busy)
    found = _search(who, ctx, wish)
    if found.slot is None:
        raise ActionError(_no_slot(found, who, wish, ctx.zone), code="no-slot")
    moved = await ctx.calendar.reschedule(review.id, *found.slot, timezone=ctx.zone, effect=ctx.effect)
    return replace(moved, reason=_reason(found, who, wish, ctx.zone))


class CancelReview(Params):
    """Call a review off, and tell everybody invited. One that is called off already stays so.

    Example:
        uses: calendar.cancel
        with:
          review: ${{ steps.review.id }}
          reason: "${{ incident.title }} was reopened: we meet when it is over."
    """

    review: ReviewRef | None = Field(default=None, description=_REVIEW)
    reason: Text | None = Field(default=None, max_length=4000, description="What those invited are told, in Markdown.")


@action("calendar.cancel", CancelReview, returns=Review, lasts=False)
async def cancel(params: CancelReview, ctx: Context) -> Review:
    """Hand it to the calendar that keeps the review."""
    return await ctx.calendar.cancel(_name(params.review, ctx), reason=params.reason or None, effect=ctx.effect)


async def _found(ctx: Context) -> Review | None:
    """Give the review that an earlier attempt of this effect has booked or moved, where the calendar can tell."""
    find = getattr(ctx.calendar, "find", None)
    found: Review | None = await find(ctx.effect) if find else None
    return found


def _name(ref: Review | str | None, ctx: Context) -> str:
    """Give the id of the named review, or of the one the run is about."""
    if isinstance(ref, Review):
        return ref.id
    if ref is not None:
        return ref.strip()
    if ctx.effect.subject_type != "review" or ctx.effect.subject is None:
        raise ActionError("the run is about no review: name one with 'review'")
    return ctx.effect.subject


async def _existing(ref: Review | str | None, ctx: Context) -> Review:
    name = _name(ref, ctx)
    found = await ctx.calendar.get(name)
    if found is None:
        raise ActionError(f"the calendar has no review '{name}'", code="not-found")
    return found


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


def _wish(
    within: calendars.Duration,
    not_before: datetime | calendars.Duration | None,
    length: calendars.Duration,
    ctx: Context,
) -> _Wish:
    hours, now = ctx.hours_of(None), ctx.now
    try:
        end = calendars.add(now, within, hours)
        early = not_before
        if isinstance(early, calendars.Duration):
            early = calendars.add(now, early, hours)
    except ValueError as error:
        raise ActionError(f"no slot can be looked for: {error}") from error
    if end - now > _LONGEST_SEARCH:
        raise ActionError(f"'within' may reach a year ahead, not {within}")
    start = max(now + timedelta(microseconds=1), early or now)
    if start + length.timedelta() > end:
        raise ActionError(
            f"no slot can be looked for: between the earliest start, {_moment(start, ctx.zone)}, and the end of "
            f"'within', {_moment(end, ctx.zone)}, are less than {_length(length)}"
        )
    return _Wish(start, end, length, within)


async def _invited(
    required: Sequence[domain.Person], optional: Sequence[domain.Person], ctx: Context, wish: _Wish
) -> _Invited:
    """Leave out whom the calendar cannot reach; where nobody is left who must come, the owner must."""
    everybody = [*required, *optional]
    busy = await ctx.calendar.busy(everybody, wish.start, wish.end) if everybody else {}
    reached = {person.id for person in everybody if person.known or person.email or busy.get(person.id) is not None}
    left_out = tuple(person for person in everybody if person.id not in reached)
    must = [person for person in required if person.id in reached]
    may = [person for person in optional if person.id in reached]
    if must:
        return _Invited(must, may, left_out, busy)
    if ctx.owner is None:
        who = f"{_names(left_out)} cannot be reached" if left_out else "there are no attendees"
        raise ActionError(f"nobody can be invited: {who}, and the workflow has no owner", code="nobody-to-invite")
    owner = ctx.owner
    theirs = await ctx.calendar.busy([owner], wish.start, wish.end)
    return _Invited([owner], [person for person in may if person.id != owner.id], left_out, {**busy, **theirs})


def _search(who: _Invited, ctx: Context, wish: _Wish) -> Search:
    def diary(person: domain.Person) -> Diary:
        taken = [(interval.start, interval.end) for interval in who.busy.get(person.id) or ()]
        return Diary(person.id, open_intervals(ctx.hours_of(person), wish.start, wish.end), taken)

    diaries = [diary(person) for person in who.required]
    if wish.had is not None:
        diaries.append(Diary(_HAD, [(wish.start, wish.end)], [wish.had]))
    return first_slot(
        diaries,
        wish.start,
        wish.end,
        wish.length.timedelta(),
        ctx.zone,
        optional=[diary(person) for person in who.optional],
    )


# --- what is said about it -------------------------------------------------------------------------------------------


def _description(text: str, who: _Invited, people: Sequence[domain.Person]) -> str:
    """Give the invitation's Markdown: what the workflow says, then who could not be invited."""
    parts = [text] if text.strip() else []
    if who.left_out:
        names = ", ".join(_escaped(person.name) for person in who.left_out)
        parts.append(f"Not invited, because neither a roster entry nor an e-mail address is known: {names}.")
    if not any(person in people for person in who.required):
        parts.append(f"{_escaped(who.required[0].name)} is invited as the owner of the workflow.")
    return "\n\n".join(parts)


def _escaped(name: str) -> str:
    return " ".join(name.split()).translate(_MARKUP)


def _reason(found: Search, who: _Invited, wish: _Wish, timezone: str) -> str:
    names = {person.id: person.name for person in who.required}
    when = f" when {_names(who.required)} {_are(who.required)} free in their own hours" if who.required else ""
    parts = [f"first {_length(wish.length)} within {wish.within}{when}"]
    parts += _passed_over(found.passed_over, names, wish.length, timezone)
    if found.forgone is not None:
        parts.append(f"{_moment(found.forgone, timezone)}: fewer of those who may stay away can come")
    for absent, can in ((False, "can come"), (True, "cannot come")):
        some = [person for person in who.optional if (person.id in found.absent) is absent]
        if some:
            parts.append(f"{_names(some)}, who may stay away, {can}")
    unknown = [person for person in (*who.required, *who.optional) if who.busy.get(person.id) is None]
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
        clauses = [_clause(hindrance, names, length, timezone) for hindrance in against]
        told.append(f"{_moment(start, timezone)}: {_and(clauses, 'others')}")
    more = len(told) - _SHOWN_STARTS
    return told if more <= 0 else [*told[:_SHOWN_STARTS], f"{more} later start{'s' if more > 1 else ''} did not suit"]


def _clause(hindrance: Hindrance, names: Mapping[str, str], length: calendars.Duration, timezone: str) -> str:
    if hindrance.who == _HAD:
        return "this overlaps the time it had"
    name = names[hindrance.who]
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


def _no_slot(found: Search, who: _Invited, wish: _Wish, timezone: str) -> str:
    whys = [
        f"{person.name} {_WHY[found.impossible[person.id]]}" for person in who.required if person.id in found.impossible
    ]
    together = f"{_names(who.required)} are free at times, but never all at once"
    if wish.had is not None:
        together = f"at no other time than the one it has {_are(who.required)} {_names(who.required)} free"
    why = "; ".join(whys) or together
    return f"no {_length(wish.length)} within {wish.within} (until {_moment(wish.end, timezone)}) suit everybody: {why}"


def _are(people: Sequence[domain.Person]) -> str:
    return "is" if len(people) == 1 else "are"


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


ALL: tuple[Action, ...] = (cancel, reschedule, schedule)
