from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

import triggers
from engine import calendars
from engine.domain import Event
from engine.plugins import Trigger

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TRIGGERS = {item.name: item for item in triggers.ALL if isinstance(item, Trigger)}
STATES = ["declared", "acknowledged", "mitigated", "resolved"]


def event(kind, **after):
    return Event("evt_1", kind, "pager", AT, "incident", "pager:P1", after=after)


@pytest.mark.parametrize("state", STATES)
def test_a_state_starts_once_per_trigger_and_incident(state):
    trigger = TRIGGERS[f"incident.{state}"]
    assert trigger.key(trigger.params(), event(trigger.name)) == (f"incident.{state}", "pager:P1")


@pytest.mark.parametrize("name", ["incident.reopened", "incident.updated"])
def test_what_may_happen_often_starts_each_time(name):
    assert TRIGGERS[name].key is None


def test_each_state_is_left_by_the_ones_that_follow_it():
    left = {state: [name.partition(".")[2] for name in TRIGGERS[f"incident.{state}"].left_by] for state in STATES}
    assert left == {
        "declared": ["acknowledged", "mitigated", "resolved"],
        "acknowledged": ["mitigated", "resolved"],
        "mitigated": ["resolved", "reopened"],
        "resolved": ["reopened"],
    }


@pytest.mark.parametrize("name", [f"incident.{state}" for state in STATES] + ["alert.firing", "alert.resolved"])
def test_a_state_takes_for_under_its_own_name_and_as_a_field(name):
    model = TRIGGERS[name].params
    assert model.model_validate({"for": "15m"}).for_ == calendars.Duration(900) == model(for_="15m").for_


@pytest.mark.parametrize("name", ["incident.reopened", "incident.updated", "ticket.created", "document.published"])
def test_what_is_no_state_takes_no_for(name):
    with pytest.raises(ValidationError, match="Extra inputs"):
        TRIGGERS[name].params.model_validate({"for": "15m"})


@pytest.mark.parametrize(
    ("wanted", "fits"), [({}, True), ({"mark": "action_item"}, True), ({"mark": "opportunity"}, False)]
)
def test_a_marked_message_fits_the_mark_that_is_asked_for_once_for_each_message(wanted, fits):
    trigger = TRIGGERS["incident.marked"]
    data = {"mark": "action_item", "entry": "C1/1.0"}
    happened = Event("evt_1", "incident.marked", "chat", AT, "incident", "pager:P1", data=data)
    params = trigger.params(**wanted)
    assert trigger.matches(params, happened) is fits
    assert trigger.key(params, happened) == ("pager:P1", "C1/1.0", "action_item")
