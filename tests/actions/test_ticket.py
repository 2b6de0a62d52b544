from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from actions.ticket import (
    CloseTicket,
    CommentTicket,
    CreateTicket,
    LinkTicket,
    ReopenTicket,
    SearchTickets,
    UpdateTicket,
    close,
    comment,
    create,
    link,
    reopen,
    search,
    update,
)
from engine.capabilities import Where
from engine.domain import Document, Incident, Ticket
from engine.plugins import ActionError, EffectClass
from tests.fakes import ADA, FakeContext, FakePeople

OURS = Incident("local:INC-1", "INC-1", "Slow")


class RecordingTickets:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.given: Any = Ticket("local:HW-1", "HW-1", "Alert earlier")

    async def create(self, draft, *, effect):
        self.calls.append(("create", draft))
        return self.given

    async def update(self, ticket, changes, *, effect):
        self.calls.append(("update", ticket, dict(changes)))
        return self.given

    async def comment(self, ticket, text, *, effect):
        self.calls.append(("comment", ticket, text))
        return self.given

    async def link(self, ticket, other, relation, *, effect):
        self.calls.append(("link", ticket, other, relation))
        return self.given

    async def close(self, ticket, *, comment, effect):
        self.calls.append(("close", ticket, comment))
        return self.given

    async def reopen(self, ticket, *, comment, effect):
        self.calls.append(("reopen", ticket, comment))
        return self.given

    async def search(self, where, query):
        self.calls.append(("search", where, query))
        return [Ticket(f"local:HW-{n}", f"HW-{n}", "x", description="long") for n in range(1, 61)]


class KnownIncidents:
    async def get(self, incident):
        return OURS if incident == "INC-1" else None


def a_context(**more):
    return FakeContext(tickets=RecordingTickets(), incidents=KnownIncidents(), **more)


def validated(params, **values):
    return params.model_validate(values, context={"people": FakePeople()})


async def drafted(ctx=None, **values):
    ctx = ctx or a_context()
    await create.function(validated(CreateTicket, **({"title": "Alert earlier"} | values)), ctx)
    return ctx.tickets.calls[0][1]


async def test_further_fields_are_handed_to_the_tracker():
    assert (await drafted(fields={"Severity": "High"})).fields == {"Severity": "High"}


async def test_a_status_of_the_trackers_own_is_handed_to_it():
    ctx = a_context()
    await update.function(validated(UpdateTicket, ticket="HW-1", status="In review"), ctx)
    assert ctx.tickets.calls == [("update", "HW-1", {"status": "In review"})]


async def test_two_tickets_are_linked_by_the_word_after_as():
    ctx = a_context()
    ticket = Ticket("local:HW-2", "HW-2", "Drain it")
    await link.function(validated(LinkTicket, **{"ticket": ticket, "to": "HW-1", "as": "blocks"}), ctx)
    assert ctx.tickets.calls == [("link", "local:HW-2", "HW-1", "blocks")]
    assert link.lasts


async def test_a_date_is_due_at_the_end_of_that_day_in_the_projects_zone():
    draft = await drafted(a_context(zone="Europe/Prague"), due="2026-03-02")
    assert draft.due == datetime(2026, 3, 2, 22, 59, 59, tzinfo=UTC)


async def test_an_instant_is_due_as_it_stands():
    draft = await drafted(due="2026-03-02T09:00:00+01:00")
    assert draft.due == datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize("due", ["soon", "2026-02-30", "2026-03-02T09:00:00", 7, ""])
def test_what_is_neither_a_date_nor_an_instant_is_refused(due):
    with pytest.raises(ValidationError, match="2026-03-02"):
        validated(CreateTicket, title="x", due=due)


async def test_a_ticket_belongs_to_the_runs_incident():
    assert (await drafted(a_context(incident=OURS))).incident == "local:INC-1"


async def test_a_ticket_outside_an_incident_belongs_to_none():
    assert (await drafted()).incident is None


@pytest.mark.parametrize("named", [OURS, "INC-1", "local:INC-1"])
async def test_another_incident_is_named_by_record_key_or_id(named):
    assert (await drafted(incident=named)).incident == "local:INC-1"


async def test_an_unknown_incident_is_an_error():
    with pytest.raises(ActionError, match="no incident is called 'INC-9'"):
        await drafted(incident="INC-9")


async def test_the_draft_holds_what_was_given():
    draft = await drafted(labels=["postmortem"], assignee="ada", document=Document("markdown:d1", "Report"), team="sre")
    assert (draft.labels, draft.assignee, draft.document, draft.team) == (("postmortem",), ADA, "markdown:d1", "sre")


async def test_only_fields_that_are_given_are_changed():
    ctx = a_context()
    await update.function(validated(UpdateTicket, ticket="HW-1", labels=[], assignee="ada", title=None), ctx)
    assert ctx.tickets.calls == [("update", "HW-1", {"labels": (), "assignee": ADA})]


async def test_an_update_of_nothing_is_an_error():
    with pytest.raises(ActionError, match="nothing to change"):
        await update.function(validated(UpdateTicket, ticket="HW-1", due=None), a_context())


async def test_a_ticket_action_does_not_change_what_is_no_ticket():
    ctx = a_context()
    ctx.tickets.given = OURS
    with pytest.raises(ActionError, match="'INC-1' is no ticket"):
        await update.function(validated(UpdateTicket, ticket="INC-1", title="x"), ctx)


async def test_a_ticket_is_named_by_its_record_too():
    ctx = a_context()
    await comment.function(validated(CommentTicket, ticket=Ticket("local:HW-2", "HW-2", "x"), text="seen"), ctx)
    await close.function(validated(CloseTicket, ticket="HW-2", comment=""), ctx)
    assert ctx.tickets.calls == [("comment", "local:HW-2", "seen"), ("close", "HW-2", None)]


async def test_a_ticket_is_opened_again_at_the_tracker():
    ctx = a_context()
    await reopen.function(validated(ReopenTicket, ticket="HW-2", comment="It came back."), ctx)
    assert ctx.tickets.calls == [("reopen", "HW-2", "It came back.")]


@pytest.mark.parametrize("ticket", [None, "", 7, OURS])
def test_what_names_no_ticket_is_refused(ticket):
    with pytest.raises(ValidationError, match="must be a ticket"):
        validated(CloseTicket, ticket=ticket)


def test_a_filed_ticket_lasts_and_a_comment_passes():
    assert [one.lasts for one in (create, update, comment, close)] == [True, False, False, False]


async def test_a_search_gives_so_many_tickets_without_their_long_texts_and_says_how_many_there_are():
    ctx = a_context()
    found = await search.function(validated(SearchTickets, where={"labels": ["postmortem"]}), ctx)
    assert ctx.tickets.calls == [("search", Where(labels=("postmortem",)), None)]
    assert (len(found.tickets), found.tickets[0].key, found.tickets[0].description, found.count) == (
        50,
        "HW-1",
        None,
        60,
    )
    assert len((await search.function(validated(SearchTickets, limit=2), ctx)).tickets) == 2


async def test_a_search_takes_the_trackers_own_language_in_place_of_a_filter():
    ctx = a_context()
    await search.function(validated(SearchTickets, query="sprint is empty"), ctx)
    assert ctx.tickets.calls == [("search", Where(), "sprint is empty")]
    with pytest.raises(ValidationError, match="either 'where' or 'query'"):
        validated(SearchTickets, query="sprint is empty", where={"done": False})


def test_a_search_changes_nothing_and_may_be_repeated():
    assert (search.own_class, search.lasts) == (EffectClass.READ, False)
    assert search.outputs["tickets"].kind == "list[ticket]"
