"""The trigger `ticket.stale`: whom a check finds, when, how often, and in which order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from engine import calendars
from engine.capabilities import Where
from engine.domain import Event, Ticket
from triggers.ticket import Stale, stale

MONDAY = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def params(**values):
    return Stale.model_validate({"for": "7d", **values})


def ticket(key="HW-1", *, created=MONDAY, active=None, **more):
    return Ticket(f"local:{key}", key, "Add an alert", created_at=created, active_at=active, **more)


async def found(values, check):
    return [(due.fact.subject, due.fact.data["count"]) for due in await stale.check(params(**values), check)]


async def test_a_ticket_fires_on_the_seventh_day_and_not_before(check_at):
    assert await found({}, check_at(MONDAY + 7 * DAY - SECOND, ticket())) == []
    assert await found({}, check_at(MONDAY + 7 * DAY, ticket())) == [("local:HW-1", 0)]


async def test_idle_counts_from_the_later_of_creation_and_the_last_change_by_a_person(check_at):
    moved = ticket(active=MONDAY + 3 * DAY)
    assert await found({}, check_at(MONDAY + 10 * DAY - SECOND, moved)) == []
    assert await found({}, check_at(MONDAY + 10 * DAY, moved)) == [("local:HW-1", 0)]
    imported = ticket(created=MONDAY + 3 * DAY, active=MONDAY)
    assert await found({}, check_at(MONDAY + 10 * DAY - SECOND, imported)) == []


async def test_a_ticket_whose_times_nobody_knows_is_not_stale(check_at):
    assert await found({}, check_at(MONDAY + 99 * DAY, ticket(created=None))) == []


async def test_it_fires_again_after_each_further_such_time(check_at):
    counts = {day: await found({}, check_at(MONDAY + day * DAY, ticket())) for day in (7, 13, 14, 20, 21)}
    assert {day: pairs[0][1] for day, pairs in counts.items()} == {7: 0, 13: 0, 14: 1, 20: 1, 21: 2}


async def test_again_may_be_another_time_or_never(check_at):
    assert await found({"again": "14d"}, check_at(MONDAY + 21 * DAY - SECOND, ticket())) == [("local:HW-1", 0)]
    assert await found({"again": "14d"}, check_at(MONDAY + 21 * DAY, ticket())) == [("local:HW-1", 1)]
    assert await found({"again": "never"}, check_at(MONDAY + 99 * DAY, ticket())) == [("local:HW-1", 0)]


async def test_the_event_happens_when_the_ticket_went_stale_for_this_count(check_at):
    (due,) = await stale.check(params(again="2d"), check_at(MONDAY + 12 * DAY, ticket()))
    assert due.fact.time == MONDAY + 11 * DAY
    assert due.fact.data == {"idle_since": MONDAY, "count": 2}
    assert due.key == ("local:HW-1", "2026-03-02T10:00:00+00:00", 2)


async def test_the_key_of_the_event_is_the_key_of_the_occasion(check_at):
    (due,) = await stale.check(params(), check_at(MONDAY + 7 * DAY, ticket()))
    event = Event("evt_1", "ticket.stale", "hotwash", due.fact.time, "ticket", due.fact.subject, data=due.fact.data)
    assert stale.key(params(), event) == due.key
    assert stale.matches(params(), event)


async def test_working_days_pass_over_the_weekend(check_at):
    friday = datetime(2026, 3, 6, 10, 0, tzinfo=UTC)
    for_two = {"for": "2bd", "again": "1bd"}
    assert await found(for_two, check_at(datetime(2026, 3, 10, 9, 59, tzinfo=UTC), ticket(created=friday))) == []
    found_later = [await found(for_two, check_at(friday + n * DAY, ticket(created=friday))) for n in (4, 5, 8, 9, 10)]
    assert [pairs[0][1] for pairs in found_later] == [0, 1, 3, 3, 4]


async def test_working_days_pass_over_the_projects_holidays(check_at):
    closed = frozenset({MONDAY.date() + DAY})
    calendar = calendars.build_calendar("office", "UTC", {"mon-fri": "09:00-17:00"}, [closed])
    assert await found({"for": "1bd"}, check_at(MONDAY + DAY, ticket(), calendar=calendar)) == []
    assert await found({"for": "1bd"}, check_at(MONDAY + 2 * DAY, ticket(), calendar=calendar)) == [("local:HW-1", 0)]


async def test_the_longest_idle_come_first(check_at):
    tickets = [
        ticket("HW-1", created=MONDAY),
        ticket("HW-2", created=MONDAY - DAY),
        ticket("HW-3", created=MONDAY - 3 * DAY),
    ]
    order = await found({}, check_at(MONDAY + 30 * DAY, *tickets))
    assert [subject for subject, _ in order] == ["local:HW-3", "local:HW-2", "local:HW-1"]


async def test_the_filter_goes_to_the_tracker_and_asks_for_open_tickets(check_at):
    check = check_at(MONDAY)
    await stale.check(params(where={"labels": ["postmortem"], "team": "sre"}), check)
    await stale.check(params(where={"done": True}), check)
    since = {"idle_since": MONDAY - 7 * DAY}
    expected = [Where(("postmortem",), False, None, "sre", **since), Where(done=True, **since)]
    assert check.tickets.asked == [(where, None) for where in expected]


@pytest.mark.parametrize("length", ["7d", "1bd", "3bd", "20bd", "P1M", "P2M", "P1MT12H"])
async def test_the_tracker_may_leave_out_no_ticket_that_is_stale_by_now(check_at, length):
    prague = replace(calendars.WEEKDAYS_9_TO_5, timezone="Europe/Prague")
    for hour in range(0, 24 * 366, 7):
        touched = MONDAY + timedelta(hours=hour)
        check = check_at(calendars.add(touched, calendars.parse_duration(length), prague), calendar=prague)
        await stale.check(params(**{"for": length}), check)
        assert touched <= check.tickets.asked[0][0].idle_since


async def test_a_query_goes_to_the_tracker_alone(check_at):
    check = check_at(MONDAY)
    await stale.check(params(query="project = OPS", connection="tracker"), check)
    assert check.tickets.asked == [(Where(idle_since=MONDAY - 7 * DAY), "project = OPS")]


async def test_the_event_carries_what_the_search_found_and_leaves_the_engines_fields_alone(check_at):
    (due,) = await stale.check(params(), check_at(MONDAY + 7 * DAY, ticket(incident="pager:P1", labels=("p1",))))
    assert due.fact.fields["title"] == "Add an alert"
    assert due.fact.fields["labels"] == ("p1",)
    assert due.fact.engine
    assert not {"incident", "document", "id"} & due.fact.fields.keys()


def test_it_looks_every_hour_unless_told_otherwise():
    assert stale.next_due(params(), MONDAY, "UTC") == MONDAY + timedelta(hours=1)
    at_nine = params(poll={"cron": "15 9 * * mon-fri", "timezone": "Europe/Prague"})
    assert stale.next_due(at_nine, MONDAY, "UTC") == datetime(2026, 3, 3, 8, 15, tzinfo=UTC)


def test_one_check_starts_25_runs_unless_told_otherwise():
    assert stale.limit(params()) == 25
    assert stale.limit(params(runs_per_check=3)) == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"for": "0d"}, "longer than nothing"),
        ({"again": "0d"}, "longer than nothing"),
        ({"again": "always"}, "must be a duration such as 14d or 5bd, or never, not 'always'"),
        ({"again": 14}, "not '14'"),
        ({"for": None}, "must be a duration"),
        ({"runs_per_check": 0}, "greater than or equal to 1"),
        ({"query": "x", "where": {"done": False}}, "either 'where' or 'query'"),
        ({"poll": {"cron": "15 9 * *"}}, "five fields"),
        ({"poll": {}}, "either 'cron' or 'every'"),
    ],
)
def test_inputs_that_cannot_be_meant_are_refused(values, said):
    with pytest.raises(ValidationError) as raised:
        params(**values)
    assert said in str(raised.value)
