"""The trigger `incident.quiet`: what a look finds, when the next one is, and what brings it forward."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from engine import calendars
from engine.domain import Event, Incident
from triggers.incident import Quiet, quiet

MONDAY = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def params(**values):
    return Quiet.model_validate({"for": "45m", **values})


def incident(key="P1", *, declared=MONDAY, active=None, **more):
    return Incident(f"pager:{key}", key, "Slow", declared_at=declared, active_at=active, **more)


async def look(check_at, at, *incidents, **values):
    found = await quiet.look(params(**values), check_at(at, incidents=incidents))
    return [due.fact.subject for due in found.found], found.next


async def test_an_incident_is_quiet_after_that_time_and_not_before(check_at):
    assert await look(check_at, MONDAY + 45 * MINUTE - SECOND, incident()) == ([], MONDAY + 45 * MINUTE)
    assert await look(check_at, MONDAY + 45 * MINUTE, incident()) == (["pager:P1"], None)


async def test_it_counts_from_the_last_thing_a_person_did(check_at):
    touched = incident(active=MONDAY + 30 * MINUTE)
    assert await look(check_at, MONDAY + 75 * MINUTE - SECOND, touched) == ([], MONDAY + 75 * MINUTE)
    assert await look(check_at, MONDAY + 75 * MINUTE, touched) == (["pager:P1"], None)


async def test_one_whose_times_nobody_knows_is_not_quiet(check_at):
    assert await look(check_at, MONDAY + 99 * MINUTE, incident(declared=None)) == ([], None)


async def test_the_longest_quiet_come_first_and_the_next_look_is_when_the_next_one_may_be(check_at):
    three = [incident("P1"), incident("P2", declared=MONDAY - 9 * MINUTE), incident("P3", active=MONDAY + 20 * MINUTE)]
    assert await look(check_at, MONDAY + 45 * MINUTE, *three) == (["pager:P2", "pager:P1"], MONDAY + 65 * MINUTE)


async def test_working_days_pass_over_the_weekend(check_at):
    friday = incident(declared=datetime(2026, 3, 6, 16, 0, tzinfo=UTC))
    tuesday = datetime(2026, 3, 10, 16, 0, tzinfo=UTC)
    assert await look(check_at, tuesday - SECOND, friday, **{"for": "2bd"}) == ([], tuesday)


async def test_private_incidents_are_found_for_those_that_ask_for_them(check_at):
    secret = incident(private=True)
    at = MONDAY + 60 * MINUTE
    found = [(await look(check_at, at, secret, private=private))[0] for private in ("no", "only", "both")]
    assert found == [[], ["pager:P1"], ["pager:P1"]]


async def test_the_key_of_the_event_is_the_key_of_the_stretch(check_at):
    found = await quiet.look(params(), check_at(MONDAY + 60 * MINUTE, incidents=[incident()]))
    (due,) = found.found
    assert (due.fact.time, due.fact.data) == (MONDAY + 45 * MINUTE, {"idle_since": MONDAY})
    event = Event("evt_1", "incident.quiet", "hotwash", due.fact.time, "incident", "pager:P1", data=due.fact.data)
    assert quiet.key(params(), event) == due.key == ("pager:P1", "2026-03-02T10:00:00+00:00")
    assert quiet.matches(params(), event)


def test_an_event_brings_the_look_forward_to_when_its_incident_may_go_quiet():
    event = Event("evt_1", "incident.reopened", "pager", MONDAY, "incident", "pager:P1")
    assert "incident.reopened" in quiet.stirred_by
    assert quiet.stirs(params(), event, calendars.WEEKDAYS_9_TO_5) == MONDAY + 45 * MINUTE


def test_quiet_for_no_time_is_refused():
    with pytest.raises(ValidationError, match="longer than nothing"):
        params(**{"for": "0s"})
