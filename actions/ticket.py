"""File tickets, change them, comment on them, close them, look for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import PlainValidator, WithJsonSchema, model_validator

from engine import domain
from engine.capabilities import TicketDraft
from engine.plugins import (
    ActionError,
    Context,
    DocumentRef,
    EffectClass,
    Field,
    IncidentRef,
    Params,
    Person,
    Text,
    TicketFilter,
    TicketRef,
    action,
)

_END_OF_DAY = time(23, 59, 59)


def _due(value: Any) -> datetime | date:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == len("2026-03-02") else datetime.fromisoformat(value)
        except ValueError:
            value = str(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"must say its time zone, such as {value.isoformat()}+01:00, or be a date such as 2026-03-02")
    if isinstance(value, date):
        return value
    raise ValueError(
        f"must be a date such as 2026-03-02 or an instant such as 2026-03-02T09:00:00+01:00, not {value!r}"
    )


#: An instant, or a date, which means the end of that day in the zone that times are shown in.
Due = Annotated[datetime | date, PlainValidator(_due), WithJsonSchema({"type": "string", "x-kind": "instant"})]
Title = Annotated[str, Field(min_length=1, max_length=300)]

_DUE = "When it should be done: an instant, or a date such as 2026-03-02, which means the end of that day."
_TICKET = "The ticket, its id or its key."


class CreateTicket(Params):
    """File a ticket.

    Example:
        uses: ticket.create
        with:
          title: "Alert on a full queue before it blocks checkout"
          labels: [postmortem]
          assignee: ${{ incident.roles.postmortem_owner }}
          due: 2026-03-02
    """

    title: Title = Field(description="One line.")
    description: Text = Field(default="", description="The long text, in Markdown.")
    labels: list[str] = Field(default=[], description="Labels.")
    project: str | None = Field(default=None, description="The project to file it under; by default the tracker's own.")
    service: str | None = Field(default=None, description="Name of the service it is about.")
    team: str | None = Field(default=None, description="Name of the team; by default its assignee's.")
    assignee: Person | None = Field(default=None, description="Who works on it.")
    due: Due | None = Field(default=None, description=_DUE)
    incident: IncidentRef | None = Field(
        default=None, description="The incident it comes of; by default the one the run is about."
    )
    document: DocumentRef | None = Field(default=None, description="The document it is filed from.")
    fields: dict[str, Any] = Field(
        default={}, description="Further fields that the tracker has for it, by what they are called there."
    )


@action("ticket.create", CreateTicket, returns=domain.Ticket, lasts=True)
async def create(params: CreateTicket, ctx: Context) -> domain.Ticket:
    """Hand the draft to the tracker."""
    draft = TicketDraft(
        title=params.title,
        description=params.description,
        project=params.project,
        labels=tuple(params.labels),
        service=params.service,
        team=params.team,
        assignee=params.assignee,
        due=_instant(params.due, ctx.zone),
        incident=await _incident(params.incident, ctx),
        document=params.document.id if isinstance(params.document, domain.Document) else params.document,
        fields=params.fields,
    )
    return await ctx.tickets.create(draft, effect=ctx.effect)


class UpdateTicket(Params):
    """Set fields of a ticket. What is left out, or null, stays as it is.

    Example:
        uses: ticket.update
        with:
          ticket: ${{ ticket }}
          assignee: grace
          labels: [postmortem, split]
    """

    ticket: TicketRef = Field(description=_TICKET)
    title: Title | None = Field(default=None, description="One line.")
    description: Text | None = Field(default=None, description="The long text, in Markdown.")
    labels: list[str] | None = Field(default=None, description="All its labels; an empty list takes them away.")
    project: str | None = Field(default=None, description="The project it is filed under.")
    service: str | None = Field(default=None, description="Name of the service it is about.")
    team: str | None = Field(default=None, description="Name of the team.")
    assignee: Person | None = Field(default=None, description="Who works on it.")
    due: Due | None = Field(default=None, description=_DUE)
    status: str | None = Field(
        default=None,
        min_length=1,
        description="The status that it shall have, in the tracker's own words, or the step that leads there.",
    )


@action("ticket.update", UpdateTicket, returns=domain.Ticket, lasts=False)
async def update(params: UpdateTicket, ctx: Context) -> domain.Ticket:
    """Hand the given fields to the tracker."""
    names = [name for name in UpdateTicket.model_fields if name != "ticket"]
    changes = {name: value for name in names if (value := getattr(params, name)) is not None}
    if not changes:
        raise ActionError(f"nothing to change: each of {', '.join(names)} is left out or null")
    if "due" in changes:
        changes["due"] = _instant(params.due, ctx.zone)
    if "labels" in changes:
        changes["labels"] = tuple(changes["labels"])
    return _ticket(await ctx.tickets.update(_ref(params.ticket), changes, effect=ctx.effect), params.ticket)


class CommentTicket(Params):
    """Add a comment to a ticket.

    Example:
        uses: ticket.comment
        with:
          ticket: ${{ ticket.key }}
          text: "${{ steps.ask.by.name }} is on it."
    """

    ticket: TicketRef = Field(description=_TICKET)
    text: Text = Field(min_length=1, description="The comment, in Markdown.")


@action("ticket.comment", CommentTicket, returns=domain.Ticket, lasts=False)
async def comment(params: CommentTicket, ctx: Context) -> domain.Ticket:
    """Hand the comment to the tracker."""
    return await ctx.tickets.comment(_ref(params.ticket), params.text, effect=ctx.effect)


class LinkTicket(Params):
    """Link a ticket to another one. A link that is there already stays one.

    Example:
        uses: ticket.link
        with:
          ticket: ${{ ticket }}
          to: OPS-12
          as: blocks
    """

    ticket: TicketRef = Field(description=_TICKET)
    to: TicketRef = Field(description="The other one.")
    relation: str = Field(
        default="relates to",
        alias="as",
        min_length=1,
        max_length=100,
        description="What the first is to the other, in the tracker's own words.",
    )


@action("ticket.link", LinkTicket, returns=domain.Ticket, lasts=True)
async def link(params: LinkTicket, ctx: Context) -> domain.Ticket:
    """Link them at the tracker."""
    return await ctx.tickets.link(_ref(params.ticket), _ref(params.to), params.relation, effect=ctx.effect)


class CloseTicket(Params):
    """Close a ticket. One that is closed already stays so.

    Example:
        uses: ticket.close
        with:
          ticket: ${{ ticket.key }}
          comment: "Won't do, says ${{ steps.ask.by.name }}."
    """

    ticket: TicketRef = Field(description=_TICKET)
    comment: Text | None = Field(default=None, description="Why, in Markdown.")


@action("ticket.close", CloseTicket, returns=domain.Ticket, lasts=False)
async def close(params: CloseTicket, ctx: Context) -> domain.Ticket:
    """Close it at the tracker."""
    return await ctx.tickets.close(_ref(params.ticket), comment=params.comment or None, effect=ctx.effect)


class ReopenTicket(Params):
    """Open a closed ticket again. One that is open stays so.

    Example:
        uses: ticket.reopen
        with:
          ticket: ${{ ticket.key }}
          comment: "It came back."
    """

    ticket: TicketRef = Field(description=_TICKET)
    comment: Text | None = Field(default=None, description="Why, in Markdown.")


@action("ticket.reopen", ReopenTicket, returns=domain.Ticket, lasts=False)
async def reopen(params: ReopenTicket, ctx: Context) -> domain.Ticket:
    """Open it at the tracker."""
    return await ctx.tickets.reopen(_ref(params.ticket), comment=params.comment or None, effect=ctx.effect)


@dataclass(frozen=True, slots=True)
class FoundTickets:
    """What a search found."""

    tickets: list[domain.Ticket] = field(metadata={"doc": "The tickets, in the tracker's order, at most `limit`."})
    count: int = field(metadata={"doc": "How many there are, also beyond `limit`."})


class SearchTickets(Params):
    """Look for tickets at the tracker itself, which may know more of them than the engine has seen.

    What `tickets()` in an expression gives is only what the engine has seen, and costs no call. The long texts of
    tickets are left out.

    Example:
        uses: ticket.search
        with:
          where: {labels: [postmortem], done: false}
          limit: 20
    """

    where: TicketFilter = Field(
        default=TicketFilter(), description="Which tickets: labels, done, project, team, assignee."
    )
    query: str | None = Field(
        default=None, min_length=1, description="In its place, a filter in the tracker's own language."
    )
    limit: int = Field(default=50, ge=1, le=200, description="At most so many.")

    @model_validator(mode="after")
    def _one_filter(self) -> SearchTickets:
        if self.query is not None and self.where != TicketFilter():
            raise ValueError("give either 'where' or 'query': the tracker's own language can say all that 'where' says")
        return self


@action("ticket.search", SearchTickets, returns=FoundTickets, lasts=False, effect=EffectClass.READ)
async def search(params: SearchTickets, ctx: Context) -> FoundTickets:
    """Ask the tracker."""
    found = await ctx.tickets.search(params.where.as_where(), params.query)
    return FoundTickets([replace(ticket, description=None) for ticket in found[: params.limit]], len(found))


def _ref(ticket: domain.Ticket | str) -> str:
    return ticket.id if isinstance(ticket, domain.Ticket) else ticket.strip()


def _ticket(found: Any, ref: domain.Ticket | str) -> domain.Ticket:
    """Refuse what a provider of several kinds of subjects found under a name that is no ticket's."""
    if not isinstance(found, domain.Ticket):
        raise ActionError(f"'{_ref(ref)}' is no ticket")
    return found


def _instant(due: datetime | date | None, zone: str) -> datetime | None:
    if due is None or isinstance(due, datetime):
        return due
    return datetime.combine(due, _END_OF_DAY, ZoneInfo(zone)).astimezone(UTC)


async def _incident(ref: domain.Incident | str | None, ctx: Context) -> str | None:
    """Give the id of the named incident, or of the one the run is about."""
    own = ctx.incident
    if ref is None:
        return own.id if own else None
    if isinstance(ref, domain.Incident):
        return ref.id
    if own is not None and ref in (own.id, own.key):
        return own.id
    if ":" in ref:
        return ref
    found = await ctx.incidents.get(ref)
    if found is None:
        raise ActionError(f"no incident is called '{ref}'")
    return found.id
