"""Start workflows when a ticket is filed, changes, is closed or reopened, and when nobody has touched it for long."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, PlainValidator, WithJsonSchema, field_validator, model_validator

from engine import calendars, domain
from engine.domain import Event, Ticket
from engine.plugins import Check, Discreet, Due, Duration, Fact, Field, TicketFilter, trigger
from triggers import states
from triggers.schedule import Rhythm

_HOURLY = Rhythm(cron="0 * * * *")
#: What of a ticket that was found goes with its event: the engine takes it for a ticket that it never saw.
_CARRIED = tuple(
    field.name
    for field in dataclasses.fields(Ticket)
    if field.name != "id" and field.name not in domain.ENGINE_OWNED["ticket"]
)


# --- which tickets ---------------------------------------------------------------------------------------------------


def _fits(wanted: TicketFilter, ticket: Mapping[str, Any]) -> bool:
    person = states.person(ticket.get("assignee"))
    return (
        set(wanted.labels) <= set(ticket.get("labels") or ())
        and wanted.done in (None, bool(ticket.get("done")))
        and wanted.project in (None, ticket.get("project"))
        and wanted.team in (None, ticket.get("team") or (person.team if person else None))
        and (wanted.assignee is None or (person is not None and _is(wanted.assignee, person)))
    )


def _is(key: str, person: domain.Person) -> bool:
    return key == person.id or key.casefold() == (person.email or "").casefold() or key in person.ids.values()


class _Ticket(Discreet):
    where: TicketFilter = Field(default=TicketFilter(), description="Only tickets that fit this.")
    own: bool = Field(default=False, description="Whether what our own accounts do starts it too.")


class Created(_Ticket):
    """Start when a ticket is filed.

    Example:
        on:
          ticket.created:
            where: {labels: [postmortem]}
    """


class Updated(_Ticket):
    """Start each time a ticket changes.

    Example:
        on:
          ticket.updated:
            where: {project: OPS}
    """


class Commented(_Ticket):
    """Start each time somebody comments on a ticket.

    Example:
        on:
          ticket.commented:
            where: {assignee: ada}
    """


class Closed(_Ticket):
    """Start when a ticket is closed.

    Example:
        on:
          ticket.closed:
            for: 1d
            where: {labels: [postmortem]}
    """

    model_config = ConfigDict(populate_by_name=True)

    for_: Duration | None = Field(default=None, alias="for", description="How long it must have stayed closed.")


class Reopened(_Ticket):
    """Start each time a closed ticket is opened again.

    Example:
        on:
          ticket.reopened:
            where: {team: sre}
    """


def _wanted(params: _Ticket, event: Event) -> bool:
    return _fits(params.where, event.after or {})


@trigger("ticket.created", Created, subject="ticket")
def created(params: Created, event: Event) -> bool:
    """Fit the tickets of the filter; so do all of these."""
    return _wanted(params, event)


@trigger("ticket.updated", Updated, subject="ticket")
def updated(params: Updated, event: Event) -> bool:
    """Fit tickets of the filter that changed."""
    return _wanted(params, event)


@trigger("ticket.commented", Commented, subject="ticket")
def commented(params: Commented, event: Event) -> bool:
    """Fit tickets of the filter that somebody commented on."""
    return _wanted(params, event)


@trigger("ticket.closed", Closed, subject="ticket", left_by=("ticket.reopened",))
def closed(params: Closed, event: Event) -> bool:
    """Fit tickets of the filter that are closed."""
    return _wanted(params, event)


@trigger("ticket.reopened", Reopened, subject="ticket")
def reopened(params: Reopened, event: Event) -> bool:
    """Fit tickets of the filter that are opened again."""
    return _wanted(params, event)


# --- stale -----------------------------------------------------------------------------------------------------------


def _again(value: Any) -> Any:
    if value is None or value == "never" or isinstance(value, calendars.Duration):
        return value
    if isinstance(value, str):
        try:
            return calendars.parse_duration(value)
        except ValueError:
            pass
    raise ValueError(f"must be a duration such as 14d or 5bd, or never, not '{value}'")


_Again = Annotated[
    calendars.Duration | Literal["never"] | None, PlainValidator(_again), WithJsonSchema({"type": ["string", "null"]})
]


class Stale(Discreet):
    """Start when nobody has touched an open ticket for a while, and again after each further such time.

    Idle counts from the later of its creation and the last change by a person.

    Example:
        on:
          ticket.stale:
            for: 7d
            again: 14d
            where: {labels: [postmortem]}
            poll: {cron: "15 9 * * mon-fri", timezone: Europe/Prague}
    """

    model_config = ConfigDict(populate_by_name=True)

    for_: Duration = Field(alias="for", description="How long it must have been idle, such as 7d or 5bd.")
    again: _Again = Field(
        default=None, description="After how much more it starts again; by default as `for`. Or `never`."
    )
    where: TicketFilter = Field(
        default=TicketFilter(),
        description="Which tickets: labels, done, project, team, assignee. Open ones, unless it says done.",
    )
    query: str | None = Field(default=None, description="In its place, a filter in the tracker's own language.")
    connection: str | None = Field(
        default=None,
        description="Whose tickets; by default the connection that `use:` names.",
        json_schema_extra={"x-kind": "connection"},
    )
    poll: Rhythm = Field(
        default=_HOURLY, description="When to look: `cron` with `timezone`, or `every`. By default every hour."
    )
    runs_per_check: int = Field(
        default=25, ge=1, description="How many runs one look may start; more wait for the next."
    )

    @field_validator("for_", "again")
    @classmethod
    def _some_time(cls, value: Any) -> Any:
        if isinstance(value, calendars.Duration) and value == calendars.Duration():
            raise ValueError("must be longer than nothing, such as 7d or 5bd")
        return value

    @model_validator(mode="after")
    def _one_filter(self) -> Stale:
        if self.query is not None and self.where != TicketFilter():
            raise ValueError("give either 'where' or 'query': the tracker's own language can say all that 'where' says")
        return self


def _since(ticket: Ticket) -> datetime | None:
    known = [instant for instant in (ticket.active_at, ticket.created_at) if instant is not None]
    return max(known) if known else None


def _latest(params: Stale, since: datetime, check: Check) -> tuple[int, datetime] | None:
    """Give how many times it has gone stale again, and the instant it did last; None if it has not gone stale."""
    stale_at = calendars.add(since, params.for_, check.calendar)
    if stale_at > check.now:
        return None
    again = params.for_ if params.again is None else params.again
    if isinstance(again, str):
        return 0, stale_at
    if again.exact:
        count = int((check.now - stale_at) // again.timedelta())
        return count, stale_at + count * again.timedelta()
    return max(enumerate(_repeated(stale_at, again, check)))


def _repeated(instant: datetime, again: calendars.Duration, check: Check) -> Iterator[datetime]:
    while instant <= check.now:
        yield instant
        instant = calendars.add(instant, again, check.calendar)


async def _stale_tickets(params: Stale, check: Check) -> Sequence[Due]:
    """Find the tickets that are stale now, the longest idle first."""
    where = params.where.as_where(done=False if params.query is None else None)
    where = dataclasses.replace(where, idle_since=_idle_since(params.for_, check.now))
    found: list[tuple[datetime, Due]] = []
    for ticket in await check.tickets.search(where, params.query):
        since = _since(ticket)
        latest = _latest(params, since, check) if since is not None else None
        if since is not None and latest is not None:
            found.append((since, _due(ticket, since, *latest)))
    found.sort(key=lambda pair: (pair[0], str(pair[1].key)))
    return [due for _, due in found]


def _idle_since(length: calendars.Duration, now: datetime) -> datetime | None:
    """Give an instant after which whatever was touched is not stale yet; None where there is none to be given.

    A working day takes a day at least and a month 28, less what summer time takes away.
    """
    days = 0 if length.exact else length.business_days + 28 * length.months - 1
    try:
        return now - timedelta(days=days, seconds=length.seconds)
    except OverflowError:
        return None


def _due(ticket: Ticket, since: datetime, count: int, stale_at: datetime) -> Due:
    fields = {name: value for name in _CARRIED if (value := getattr(ticket, name)) is not None}
    fact = Fact(
        "ticket.stale",
        stale_at,
        subject_type="ticket",
        subject=ticket.id,
        fields=fields,
        data={"idle_since": since, "count": count},
        engine=True,  # a finding of ours: it must not pass for the newest word of the tracker
    )
    return Due(fact, _key(ticket.id, since, count))


def _key(ticket: str | None, since: Any, count: Any) -> tuple[Any, ...]:
    return (ticket, states.instant_text(since), count)


def _once_per_staleness(params: Stale, event: Event) -> tuple[Any, ...]:
    return _key(event.subject, event.data.get("idle_since"), event.data.get("count"))


def _next_look(params: Stale, instant: datetime, zone: str) -> datetime:
    return params.poll.next_after(instant, zone)


@trigger(
    "ticket.stale",
    Stale,
    subject="ticket",
    data={
        "idle_since": domain.Field("instant", "When somebody last did something about it."),
        "count": domain.Field("number", "How many times it went stale before, since then."),
    },
    key=_once_per_staleness,
    next_due=_next_look,
    check=_stale_tickets,
    limit=lambda params: params.runs_per_check,
    own_may_start=True,
    folds=True,
    asks="ticket",
)
def stale(params: Stale, event: Event) -> bool:
    """Fit what its own check has found."""
    return True
