"""Business time where clocks are set: every zone, every year from 2000 to 2100, close to what changes in them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calendars import (
    Calendar,
    Diary,
    Duration,
    add,
    build_calendar,
    business_days_between,
    first_slot,
    intersect,
    is_open,
    next_open,
    open_intervals,
)

QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
ZONES = sorted(available_timezones() - {"localtime", "Factory"})
ALL_DAYS = "mon-sun"


@cache
def changes(name, year):
    """Give the instants of a year at which a zone sets its clocks, to the minute."""
    zone, found = ZoneInfo(name), []
    at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while at < end:
        then = at + timedelta(days=5)
        if at.astimezone(zone).utcoffset() != then.astimezone(zone).utcoffset():
            low, high = at, then
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) // timedelta(minutes=2) * timedelta(minutes=1)
                same = middle.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
        at = then
    return found


#: A zone, and an instant within a day and a half of one at which its clocks are set, where they are in that year.
@st.composite
def near_changes(draw):
    name, year = draw(st.sampled_from(ZONES)), draw(st.integers(2000, 2100))
    found = changes(name, year) or [datetime(year, 6, 1, tzinfo=UTC)]
    away = draw(st.integers(-36 * 12, 36 * 12)) * timedelta(minutes=5)
    return name, draw(st.sampled_from(found)) + away


def _text(minutes):
    return f"{minutes // 60:02}:{minutes % 60:02}"


#: One to four windows in a day, of five minutes and more; they may touch one another and midnight at both ends.
windows = st.lists(
    st.one_of(st.integers(0, 288).map(lambda n: n * 5), st.sampled_from([0, 60, 120, 150, 180, 1380, 1440])),
    min_size=2,
    max_size=8,
    unique=True,
).map(
    lambda cuts: ", ".join(
        f"{_text(a)}-{_text(b)}" for a, b in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)
    )
)


def holidays_near(instant):
    days = st.integers(-3, 10).map(lambda n: (instant + timedelta(days=n)).date())
    return st.frozensets(days, max_size=4)


@st.composite
def places(draw):
    """Give a calendar whose zone sets its clocks near an instant, and that instant."""
    name, instant = draw(near_changes())
    days = draw(st.one_of(st.just(["mon-sun"]), st.sets(st.sampled_from(["mon", "wed", "sat", "sun"]), min_size=1)))
    hours = {day: draw(windows) for day in days}
    return build_calendar("any", name, hours, [draw(holidays_near(instant))]), instant


def wall(instant, calendar):
    return instant.astimezone(calendar.zone).replace(tzinfo=None)


def shown_open(calendar, instant):
    """Whether a clock on the wall shows a time within the hours of a working day: what open means."""
    local = wall(instant, calendar)
    inside = (
        opens <= local.time() and (local.time() < closes or closes == time.min)
        for opens, closes in calendar.hours[local.weekday()]
    )
    return not calendar.is_holiday(local.date()) and any(inside)


@settings(max_examples=150)
@given(places())
def test_open_is_what_the_clock_on_the_wall_says(place):
    calendar, instant = place
    assert is_open(calendar, instant) == shown_open(calendar, instant)


@given(places())
def test_opening_hours_hold_every_open_instant_and_no_other(place):
    calendar, instant = place
    end = instant + timedelta(hours=30)
    found = open_intervals(calendar, instant, end)
    edges = [edge for stretch in found for edge in stretch]
    assert edges == sorted(set(edges))
    for step in range(30 * 12):
        at = instant + step * timedelta(minutes=5)
        assert any(opens <= at < closes for opens, closes in found) == shown_open(calendar, at)


@settings(max_examples=150)
@given(places())
def test_what_is_held_goes_out_inside_opening_hours_and_at_the_first_instant_of_them(place):
    calendar, instant = place
    there = next_open(calendar, instant)
    assert there >= instant
    assert shown_open(calendar, there)
    assert open_intervals(calendar, instant, there) == []
    assert there == instant or not shown_open(calendar, there - TICK)
    assert next_open(calendar, there) == there


@given(places(), places(), st.integers(1, 6).map(lambda n: n * QUARTER))
def test_a_slot_lies_inside_the_hours_of_everybody_where_clocks_are_set(one, other, length):
    start = one[1]
    end = start + timedelta(days=4)
    people = [Diary(str(n), open_intervals(calendar, start, end)) for n, (calendar, _) in enumerate((one, other))]
    slot = first_slot(people, start, end, length, one[0].timezone).slot
    if slot is None:
        return
    inside = [slot[0] + n * timedelta(minutes=5) for n in range(length // timedelta(minutes=5))]
    assert all(shown_open(calendar, at) for calendar, _ in (one, other) for at in inside)
    assert all(intersect([slot], diary.open) == [slot] for diary in people)


@settings(max_examples=150)
@given(places(), st.integers(1, 30))
def test_adding_and_counting_agree_where_clocks_are_set(place, count):
    calendar, instant = place
    there = add(instant, Duration(0, count), calendar)
    if wall(there, calendar).time() == wall(instant, calendar).time():
        assert business_days_between(instant, there, calendar) == count
    assert there > instant


@settings(max_examples=150)
@given(places(), st.integers(-400, 400), st.integers(0, 20))
def test_order_is_kept_where_the_local_times_are_not_those_that_change(place, apart, count):
    calendar, one = place
    other = one + apart * timedelta(minutes=5)
    earlier, later = sorted((one, other))
    there = [add(at, Duration(0, count), calendar) for at in (earlier, later)]
    dates = [wall(at, calendar).date() for at in there]
    assert dates == sorted(dates)
    kept = all(
        wall(a, calendar).time() == wall(b, calendar).time() for a, b in ((earlier, there[0]), (later, there[1]))
    )
    working = all(calendar.is_working_day(wall(at, calendar).date()) for at in (earlier, later))
    if kept and working and wall(earlier, calendar) <= wall(later, calendar):
        assert there[0] <= there[1]


@given(places(), st.integers(1, 30))
def test_the_other_way_leads_back_from_a_working_day(place, count):
    calendar, instant = place
    there = add(instant, Duration(0, count), calendar)
    back = add(there, Duration(0, count), calendar, -1)
    same = wall(there, calendar).time() == wall(instant, calendar).time() == wall(back, calendar).time()
    if same and calendar.is_working_day(wall(instant, calendar).date()):
        assert wall(back, calendar) == wall(instant, calendar)


# --- single cases, for those who read


def prague(hours, **more):
    return build_calendar("any", "Europe/Prague", {ALL_DAYS: hours}, **more)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SPRING = (utc("2026-03-28T23:00"), utc("2026-03-29T22:00"))  # 29 March in Prague, when two o'clock is three
AUTUMN = (utc("2026-10-24T22:00"), utc("2026-10-25T23:00"))  # 25 October, when three o'clock is two


@pytest.mark.parametrize(
    ("hours", "day", "found"),
    [
        ("02:00-03:00", SPRING, []),  # the hour that nobody has
        ("02:30-05:00", SPRING, [("01:00", "03:00")]),  # three to five
        ("00:30-02:30", SPRING, [("23:30", "01:00")]),  # up to two, which is three
        ("01:00-05:00", SPRING, [("00:00", "03:00")]),
        ("02:00-02:30", AUTUMN, [("00:00", "00:30"), ("01:00", "01:30")]),
        ("02:30-05:00", AUTUMN, [("00:30", "01:00"), ("01:30", "04:00")]),
        ("01:00-02:30", AUTUMN, [("23:00", "00:30"), ("01:00", "01:30")]),
        ("01:00-05:00", AUTUMN, [("23:00", "04:00")]),
    ],
)
def test_hours_on_the_day_that_clocks_are_set(hours, day, found):
    calendar = prague(hours)
    assert [(f"{opens:%H:%M}", f"{closes:%H:%M}") for opens, closes in open_intervals(calendar, *day)] == found


def test_windows_that_touch_are_one_and_those_over_midnight_too():
    calendar = prague("00:00-06:00, 22:00-24:00")
    nights = open_intervals(calendar, utc("2026-03-02T12:00"), utc("2026-03-04T12:00"))
    assert [closes - opens for opens, closes in nights] == [timedelta(hours=8)] * 2


def test_clocks_that_are_set_back_over_midnight_open_the_hours_before_it_again():
    havana = build_calendar("late", "America/Havana", {ALL_DAYS: "00:00-00:30"})
    midnight = utc("2026-11-01T04:00")  # at one o'clock it is midnight again
    assert open_intervals(havana, midnight, midnight + 3 * HOUR) == [
        (midnight, midnight + 2 * QUARTER),
        (midnight + HOUR, midnight + HOUR + 2 * QUARTER),
    ]
    assert next_open(havana, midnight + 3 * QUARTER) == midnight + HOUR


def test_a_day_that_a_zone_leaves_out_has_no_hours():
    samoa = build_calendar("all", "Pacific/Apia", {"fri": "00:00-24:00"})
    assert open_intervals(samoa, utc("2011-12-28T00:00"), utc("2012-01-02T00:00")) == []


def test_a_calendar_of_one_day_in_a_year_of_holidays_opens_when_they_are_over():
    calendar = Calendar("rare", "Europe/Prague", ((), (), (), (), (), (), ((time(2, 30), time(5)),)), _all_of_2026)
    assert next_open(calendar, utc("2026-01-05T00:00")) == utc("2027-01-03T01:30")


def _all_of_2026(year):
    first = date(2026, 1, 1)
    return frozenset(first + timedelta(days=n) for n in range(365)) if year == 2026 else frozenset()
