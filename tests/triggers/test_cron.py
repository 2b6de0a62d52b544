"""Cron expressions: what is read, what is refused, and which instants they mean, over changes of the clock too."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from triggers.schedule import next_after, parse_cron

PRAGUE = "Europe/Prague"  # 29 March 2026 02:00 → 03:00, 25 October 2026 03:00 → 02:00


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(cron, start, count, zone=PRAGUE):
    """Give local times, with their offsets, after a local time."""
    tz = ZoneInfo(zone)
    instant = datetime.fromisoformat(start).replace(tzinfo=tz)
    found = []
    for _ in range(count):
        instant = next_after(parse_cron(cron), instant, tz)
        found.append(instant.astimezone(tz).strftime("%a %Y-%m-%d %H:%M %z"))
    return found


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_star_allows_every_value():
    cron = parse_cron("* * * * *")
    assert (len(cron.minutes), len(cron.hours), len(cron.days), len(cron.months), len(cron.weekdays)) == (
        60,
        24,
        31,
        12,
        7,
    )


def test_lists_ranges_and_steps_are_read():
    cron = parse_cron("0,5-7,*/30 9-17/4 * jan,JUN-aug mon-wed,5")
    assert cron.minutes == {0, 5, 6, 7, 30}
    assert cron.hours == {9, 13, 17}
    assert cron.months == {1, 6, 7, 8}
    assert cron.weekdays == {1, 2, 3, 5}


@pytest.mark.parametrize("word", ["0", "7", "sun", "SUN"])
def test_sunday_is_nought_and_seven_and_has_a_name(word):
    assert parse_cron(f"0 9 * * {word}").weekdays == {0}


def test_a_range_of_weekdays_may_end_on_sunday():
    assert parse_cron("0 9 * * fri-sun").weekdays == {5, 6, 0}
    assert parse_cron("0 9 * * 5-7").weekdays == {5, 6, 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 9 * *", "five fields (minute, hour, day of month, month, weekday)"),
        ("@daily", "not '@daily'"),
        ("60 9 * * *", "minute must be 0-59"),
        ("0 24 * * *", "hour must be 0-23"),
        ("0 9 0 * *", "day of month must be 1-31"),
        ("0 9 * 13 *", "month must be 1-12 or jan-dec"),
        ("0 9 * * 8", "weekday must be 0-7 or sun-sat"),
        ("0 9 * * monday", "not 'monday'"),
        ("0 -1 * * *", "hour must be 0-23"),
        ("0 ٣ * * *", "hour must be 0-23"),
        ("0 9,, * * *", "not ''"),
        ("0 17-9 * * *", "hour '17-9' runs backwards"),
        ("0 9 * * sat-mon", "weekday 'sat-mon' runs backwards"),
        ("*/0 9 * * *", "the step of minute must be 1-59, not '0'"),
        ("*/x 9 * * *", "the step of minute must be 1-59, not 'x'"),
        ("5/15 9 * * *", "write '5-59/15'"),
        ("0 9 1 * mon", "a day of month or a weekday, not both: '1' and 'mon'"),
        ("0 9 30 2 *", "day of month '30' in month '2' never comes"),
        ("0 9 31 4,jun *", "never comes"),
    ],
)
def test_a_cron_that_cannot_be_meant_is_refused_with_what_is_allowed(text, said):
    with pytest.raises(ValueError, match=r".") as raised:
        parse_cron(text)
    assert said in str(raised.value)


def test_the_leap_day_is_a_day_that_comes():
    assert fires("0 9 29 2 *", "2026-01-01T00:00", 2) == ["Tue 2028-02-29 09:00 +0100", "Sun 2032-02-29 09:00 +0100"]


# --- instants --------------------------------------------------------------------------------------------------------


def test_monday_is_one():
    assert fires("0 9 * * 1", "2026-03-02T09:00", 2) == ["Mon 2026-03-09 09:00 +0100", "Mon 2026-03-16 09:00 +0100"]


def test_the_next_instant_lies_strictly_after():
    cron, zone = parse_cron("0 9 * * *"), ZoneInfo("UTC")
    assert next_after(cron, utc("2026-03-02T08:59:59.999999"), zone) == utc("2026-03-02T09:00")
    assert next_after(cron, utc("2026-03-02T09:00"), zone) == utc("2026-03-03T09:00")
    assert next_after(cron, utc("2026-03-02T09:00:00.000001"), zone) == utc("2026-03-03T09:00")


def test_a_day_that_a_month_does_not_have_is_passed_over():
    assert fires("0 0 31 * *", "2026-01-31T00:00", 3, "UTC") == [
        "Tue 2026-03-31 00:00 +0000",
        "Sun 2026-05-31 00:00 +0000",
        "Fri 2026-07-31 00:00 +0000",
    ]


def test_a_fixed_hour_keeps_its_local_time_over_both_changes():
    assert fires("0 9 * * *", "2026-03-28T00:00", 2) == ["Sat 2026-03-28 09:00 +0100", "Sun 2026-03-29 09:00 +0200"]
    assert fires("0 9 * * *", "2026-10-24T00:00", 2) == ["Sat 2026-10-24 09:00 +0200", "Sun 2026-10-25 09:00 +0100"]


def test_a_fixed_hour_that_is_repeated_fires_in_the_first():
    assert fires("30 2 * * *", "2026-10-24T03:00", 2) == ["Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100"]


def test_after_the_second_of_two_hours_a_fixed_hour_does_not_come_again():
    second = utc("2026-10-25T01:10")  # 02:10 +0100
    assert next_after(parse_cron("30 2 * * *"), second, ZoneInfo(PRAGUE)) == utc("2026-10-26T01:30")


def test_a_fixed_hour_that_is_skipped_fires_at_the_first_instant_that_exists():
    assert fires("30 2 * * *", "2026-03-28T03:00", 2) == ["Sun 2026-03-29 03:00 +0200", "Mon 2026-03-30 02:30 +0200"]


def test_several_times_in_a_skipped_hour_fire_once():
    assert fires("*/15 2 * * *", "2026-03-28T02:45", 2) == ["Sun 2026-03-29 03:00 +0200", "Mon 2026-03-30 02:00 +0200"]


def test_every_quarter_hour_goes_on_through_the_repeated_hour():
    found = fires("*/15 * * * *", "2026-10-25T01:45", 9)
    assert [item[-11:] for item in found] == [
        *("02:00 +0200", "02:15 +0200", "02:30 +0200", "02:45 +0200"),
        *("02:00 +0100", "02:15 +0100", "02:30 +0100", "02:45 +0100"),
        "03:00 +0100",
    ]


def test_every_quarter_hour_passes_over_the_skipped_hour():
    assert fires("*/30 * * * *", "2026-03-29T01:29", 3) == [
        "Sun 2026-03-29 01:30 +0100",
        "Sun 2026-03-29 03:00 +0200",
        "Sun 2026-03-29 03:30 +0200",
    ]


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        ("America/New_York", "2026-03-07T12:00", "Sun 2026-03-08 03:00 -0400"),
        ("America/New_York", "2026-10-31T12:00", "Sun 2026-11-01 02:30 -0500"),
        ("Australia/Lord_Howe", "2026-10-03T12:00", "Sun 2026-10-04 02:30 +1100"),  # by half an hour: 02:00 → 02:30
        ("Australia/Lord_Howe", "2026-04-04T12:00", "Sun 2026-04-05 02:30 +1030"),
        ("Antarctica/Troll", "2026-03-28T12:00", "Sun 2026-03-29 03:00 +0200"),  # by two hours: 01:00 → 03:00
        ("Asia/Kolkata", "2026-03-28T12:00", "Sun 2026-03-29 02:30 +0530"),
    ],
)
def test_half_past_two_in_other_zones(zone, start, expected):
    assert fires("30 2 * * *", start, 1, zone) == [expected]


def test_a_midnight_that_is_skipped_fires_at_one():
    assert fires("0 0 * * *", "2026-03-28T12:00", 1, "Asia/Beirut") == ["Sun 2026-03-29 01:00 +0300"]


def test_a_day_that_a_zone_skipped_fires_as_the_next_begins():
    assert fires("0 9 30 12 *", "2011-12-29T12:00", 1, "Pacific/Apia") == ["Sat 2011-12-31 00:00 +1400"]


# --- against brute force ---------------------------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)


def field(low, high):
    values = st.integers(low, high)
    ranges = st.tuples(values, values).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, high).map(lambda step: f"*/{step}")
    return st.one_of(
        st.just("*"), values.map(str), ranges, steps, st.tuples(values, values).map("{0[0]},{0[1]}".format)
    )


crons = st.one_of(
    st.tuples(field(0, 59), field(0, 23), field(1, 31), st.just("*"), st.just("*")),
    st.tuples(field(0, 59), field(0, 23), st.just("*"), field(1, 12), field(0, 7)),
).map(" ".join)


def named(cron, wall):
    return (
        wall.minute in cron.minutes
        and wall.hour in cron.hours
        and wall.day in cron.days
        and wall.month in cron.months
        and wall.isoweekday() % 7 in cron.weekdays
    )


def brute_force(cron, start, end, zone):
    """Give every instant in (start, end], by looking at each minute that passes and at those that are skipped."""
    found, before, seen = set(), (start - 3 * 60 * MINUTE).astimezone(zone).replace(tzinfo=None), set()
    instant = start - 3 * 60 * MINUTE
    while instant <= end:
        wall = instant.astimezone(zone).replace(tzinfo=None)
        skipped = [before + MINUTE * n for n in range(1, int((wall - before) / MINUTE))]
        if cron.fixed_hour:
            if any(named(cron, minute) for minute in skipped) or (named(cron, wall) and wall not in seen):
                found.add(instant)
        elif named(cron, wall):
            found.add(instant)
        seen.add(wall)
        before, instant = wall, instant + MINUTE
    return sorted(instant for instant in found if instant > start)


@settings(max_examples=150, deadline=None)
@given(
    text=crons,
    near=st.sampled_from(
        [
            ("Europe/Prague", "2026-03-28T18:00"),
            ("Europe/Prague", "2026-10-24T18:00"),
            ("America/Sao_Paulo", "2018-11-03T20:00"),
            ("Australia/Lord_Howe", "2026-04-04T06:00"),
            ("Antarctica/Troll", "2026-10-24T18:00"),
            ("UTC", "2026-02-28T12:00"),
        ]
    ),
    minutes=st.integers(0, 12 * 60),
)
def test_no_instant_is_missed_and_none_is_made_up(text, near, minutes):
    try:
        cron = parse_cron(text)
    except ValueError:
        assume(False)
    zone, start = ZoneInfo(near[0]), utc(near[1]) + minutes * MINUTE
    end = start + timedelta(hours=16)
    expected, found, instant = brute_force(cron, start, end, zone), [], start
    while (instant := next_after(cron, instant, zone)) <= end:
        found.append(instant)
    assert found == expected


@settings(max_examples=200, deadline=None)
@given(text=crons, instant=st.integers(0, 90 * 365 * 86400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_the_next_instant_is_later_and_in_utc_fits_every_field(text, instant):
    try:
        cron = parse_cron(text)
    except ValueError:
        assume(False)
    found = next_after(cron, instant, ZoneInfo("UTC"))
    assert found > instant
    assert named(cron, found)
    assert (found.second, found.microsecond) == (0, 0)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[\d*/,\-a-z ]{0,30}", fullmatch=True))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        cron = parse_cron(text)
    except ValueError as error:
        said = str(error)
    else:
        said = cron.text
    assert said
