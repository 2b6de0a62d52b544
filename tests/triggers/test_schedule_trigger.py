"""The trigger `schedule`: what it takes, when it is due, and what it does about times that were missed."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from engine.domain import Event
from triggers.schedule import Schedule, schedule


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def params(**values):
    return Schedule.model_validate(values)


async def fired(values, due, now, check_at):
    found = await schedule.check(params(**values), check_at(at(now), due=at(due)))
    return [occasion.fact.time.isoformat()[:16] for occasion in found]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "give either 'cron' or 'every'"),
        ({"cron": "0 9 * * *", "every": "1d"}, "give either 'cron' or 'every'"),
        ({"every": "1d", "timezone": "Europe/Prague"}, "'timezone' goes with 'cron'"),
        ({"cron": "0 9 * * *", "timezone": "Europe/Praha"}, "no time zone is called 'Europe/Praha'"),
        ({"cron": "0 9 * * *", "timezone": "../etc/passwd"}, "no time zone"),
        ({"cron": "0 25 * * *"}, "hour must be 0-23"),
        ({"every": "5bd"}, "an exact length"),
        ({"every": "P1M"}, "an exact length"),
        ({"every": "0s"}, "must be 1s or longer"),
        ({"every": "soon"}, "must be a duration"),
        ({"cron": "0 9 * * *", "missed": "twice"}, "'once', 'skip' or 'all'"),
        ({"cron": "0 9 * * *", "at": "noon"}, "Extra inputs"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(values, said):
    with pytest.raises(ValidationError) as raised:
        params(**values)
    assert said in str(raised.value)


def test_a_cron_counts_in_its_own_zone_and_without_one_in_that_of_the_project():
    own, projects = params(cron="0 9 * * *", timezone="Europe/Prague"), params(cron="0 9 * * *")
    assert schedule.next_due(own, at("2026-03-02T00:00"), "America/New_York") == at("2026-03-02T08:00")
    assert schedule.next_due(projects, at("2026-03-02T00:00"), "America/New_York") == at("2026-03-02T14:00")


def test_every_counts_on_from_the_instant_before():
    first_load = at("2026-03-02T09:13")
    assert schedule.next_due(params(every="36h"), first_load, "UTC") == first_load + timedelta(hours=36)


@pytest.mark.parametrize("rhythm", [{"cron": "0 9 * * *"}, {"every": "1d"}])
async def test_what_was_missed_starts_once_and_as_the_latest(rhythm, check_at):
    assert await fired(rhythm, "2026-03-02T09:00", "2026-03-05T08:00", check_at) == ["2026-03-04T09:00"]


@pytest.mark.parametrize("rhythm", [{"cron": "0 9 * * *"}, {"every": "1d"}])
async def test_all_that_was_missed_starts_in_order_when_asked_for(rhythm, check_at):
    found = await fired({**rhythm, "missed": "all"}, "2026-03-02T09:00", "2026-03-04T09:00", check_at)
    assert found == ["2026-03-02T09:00", "2026-03-03T09:00", "2026-03-04T09:00"]


async def test_what_was_missed_is_skipped_when_asked_for(check_at):
    skip = {"cron": "0 9 * * *", "missed": "skip"}
    assert await fired(skip, "2026-03-02T09:00", "2026-03-04T08:00", check_at) == []


async def test_a_tick_that_is_seconds_late_is_not_a_missed_one(check_at):
    skip = {"cron": "0 9 * * *", "missed": "skip"}
    assert await fired(skip, "2026-03-02T09:00", "2026-03-02T09:00:59", check_at) == ["2026-03-02T09:00"]
    assert await fired(skip, "2026-03-02T09:00", "2026-03-02T09:01:01", check_at) == []


async def test_nothing_starts_before_it_is_due(check_at):
    assert await fired({"every": "1h"}, "2026-03-02T09:00", "2026-03-02T08:59:59", check_at) == []


async def test_a_year_of_missed_minutes_is_looked_through_from_its_end(check_at):
    found = await fired({"cron": "* * * * *"}, "2025-03-02T09:00", "2026-03-02T09:00:30", check_at)
    assert found == ["2026-03-02T09:00"]


async def test_the_key_is_the_instant(check_at):
    weekly = params(cron="0 9 * * mon", timezone="Europe/Prague")
    (occasion,) = await schedule.check(weekly, check_at(at("2026-03-02T08:00")))
    event = Event("evt_1", "schedule", "hotwash", occasion.fact.time, data=occasion.fact.data)
    assert occasion.key == ("2026-03-02T08:00:00+00:00",) == schedule.key(weekly, event)
    assert schedule.matches(weekly, event)


async def test_the_tick_of_another_schedule_does_not_fit(check_at):
    (occasion,) = await schedule.check(params(every="1h"), check_at(at("2026-03-02T08:00")))
    event = Event("evt_1", "schedule", "hotwash", occasion.fact.time, data=occasion.fact.data)
    assert not schedule.matches(params(every="2h"), event)
