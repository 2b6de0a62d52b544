import pytest
from pydantic import ValidationError

from engine.domain import Event, Person
from engine.store.codec import record
from triggers import ticket

ADA = Person("ada", "Ada", email="ada@example.com", team="sre", ids={"jira": "5f1"})
STATE = {"labels": ["postmortem", "p1"], "done": False, "project": "OPS", "assignee": ADA}


def fits(where, state=STATE):
    params = ticket.Updated.model_validate({"where": where})
    return ticket.updated.matches(
        params, Event("evt_1", "ticket.updated", "local", None, "ticket", "local:1", after=state)
    )


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"labels": ["p1"]},
        {"labels": ["p1", "postmortem"]},
        {"done": False},
        {"project": "OPS"},
        {"team": "sre"},
        {"assignee": "ada"},
        {"assignee": "ADA@example.com"},
        {"assignee": "5f1"},
    ],
)
def test_a_ticket_fits_a_filter_that_names_what_it_has(where):
    assert fits(where)


@pytest.mark.parametrize(
    "where",
    [
        {"labels": ["p1", "p2"]},
        {"done": True},
        {"project": "ops"},
        {"team": "web"},
        {"assignee": "grace"},
        {"labels": ["p1"], "done": True},
    ],
)
def test_a_ticket_does_not_fit_a_filter_that_names_something_else(where):
    assert not fits(where)


def test_its_own_team_comes_before_that_of_its_assignee():
    assert fits({"team": "web"}, {**STATE, "team": "web"})
    assert not fits({"team": "sre"}, {**STATE, "team": "web"})


def test_a_state_as_the_store_keeps_it_is_understood():
    kept = {"done": True, "assignee": {"~person": record(ADA)}}
    assert fits({"assignee": "ada@example.com", "team": "sre", "done": True}, kept)


def test_a_ticket_nobody_works_on_fits_no_assignee_and_no_team():
    assert not fits({"assignee": "ada"}, {"done": False})
    assert not fits({"team": "sre"}, {"done": False})


def test_an_unknown_key_of_a_filter_is_refused():
    with pytest.raises(ValidationError, match="label"):
        ticket.Updated.model_validate({"where": {"label": "p1"}})


def test_closed_is_a_state_that_reopening_leaves():
    assert ticket.closed.left_by == ("ticket.reopened",)
    assert ticket.Closed.model_validate({"for": "1d"}).for_.seconds == 86400


@pytest.mark.parametrize(
    "trigger",
    [ticket.created, ticket.updated, ticket.commented, ticket.closed, ticket.reopened],
    ids=lambda one: one.name,
)
def test_every_trigger_of_tickets_takes_the_filter(trigger):
    event = Event("evt_1", trigger.name, "local", None, "ticket", "local:1", after=STATE)
    assert trigger.matches(trigger.params.model_validate({"where": {"project": "OPS"}}), event)
    assert not trigger.matches(trigger.params.model_validate({"where": {"project": "WEB"}}), event)
