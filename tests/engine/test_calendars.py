import functools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calendars import (
    WEEKDAYS_9_TO_5,
    Calendar,
    Diary,
    Duration,
    Hindrance,
    add,
    build_calendar,
    business_days_between,
    country_holidays,
    default_calendar,
    first_slot,
    holidays_from_ics,
    intersect,
    is_open,
    merge,
    next_open,
    open_intervals,
    parse_duration,
    parse_hours,
    subtract,
    without,
)

PRAGUE = ZoneInfo("Europe/Prague")
OFFICE = build_calendar("office", "Europe/Prague", {"mon-fri": "09:00-17:30"}, ["CZ"])
NEVER = Calendar("never", "UTC", ((),) * 7)
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)


def prague(text):
    return datetime.fromisoformat(text).replace(tzinfo=PRAGUE)


def plus(text, duration, calendar=OFFICE):
    return add(prague(text), parse_duration(duration), calendar).astimezone(PRAGUE).replace(tzinfo=None).isoformat()


# --- durations


@pytest.mark.parametrize("text", ["30s", "15m", "2h", "6d", "2w", "3bd", "1d12h", "1bd2h", "P1M", "P14MT90S", "0.5s"])
def test_a_duration_is_printed_as_it_is_written(text):
    assert str(parse_duration(text)) == text


@given(st.integers(0, 10**9), st.integers(0, 500), st.integers(0, 999_999))
def test_a_printed_duration_reads_as_the_same_value(seconds, days, micros):
    duration = Duration(seconds + micros / 1e6, days)
    again = parse_duration(str(duration))
    assert again.business_days == days
    assert again.seconds == pytest.approx(duration.seconds, abs=1e-6)


def test_a_duration_below_zero_is_printed_with_a_minus():
    assert str(Duration(-5400)) == "-1h30m"


def test_iso_durations_are_read():
    assert parse_duration("P1Y2M") == Duration(0, 0, 14)
    assert parse_duration("P1W2DT3H4M5S") == Duration(9 * 86400 + 3 * 3600 + 4 * 60 + 5)


@pytest.mark.parametrize("text", ["", "P", "PT", "seven days", "7", "d", "7 d", "1.5bd", "-3d", "3bdx"])
def test_what_is_no_duration_is_refused_in_the_users_words(text):
    with pytest.raises(ValueError, match=f"'{text}'"):
        parse_duration(text)


def test_a_working_day_has_no_fixed_length():
    with pytest.raises(ValueError, match="3bd has no fixed length"):
        parse_duration("3bd").timedelta()
    with pytest.raises(ValueError, match="cannot be compared"):
        assert parse_duration("3bd") < parse_duration("7d")


# --- hours and calendars


def test_weekday_ranges_and_lists_are_read():
    week = parse_hours({"Mon-wed": "9:00-17:30", "thu, sunday": "10:00-12:00, 13:00-15:00", "fri": "closed"})
    assert week[0] == week[2] == ((time(9), time(17, 30)),)
    assert week[3] == week[6] == ((time(10), time(12)), (time(13), time(15)))
    assert week[4] == week[5] == ()


def test_a_range_may_run_over_the_end_of_the_week():
    week = parse_hours({"sat-mon": "08:00-24:00"})
    assert [bool(hours) for hours in week] == [True, False, False, False, False, True, True]


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        ({"mno-fri": "09:00-17:00"}, "no weekday is called 'mno': did you mean 'mon'?"),
        ({"mon": "9-17"}, "the hours of 'mon' must be times such as 09:00-17:30, not '9-17'"),
        ({"mon": "09:00-25:00"}, "must lie between 00:00 and 24:00, not '09:00-25:00'"),
        ({"mon": "22:00-06:00"}, "write hours over midnight as two"),
        ({"mon": "09:00-12:00, 11:00-13:00"}, "the hours of 'mon' overlap"),
        ({"mon-fri": "09:00-17:00", "fri": "09:00-12:00"}, "fri has hours twice: under 'mon-fri' and under 'fri'"),
        ({"mon": 9}, "the hours of 'mon' must be a text such as \"09:00-17:30\", not '9'"),
        ({}, "hours name no open weekday"),
        ("09:00-17:00", "hours must map weekdays to times"),
    ],
)
def test_hours_that_cannot_be_read_are_refused_with_a_sentence(hours, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is compared below, unescaped
        parse_hours(hours)
    assert message in str(caught.value)


def test_an_unknown_zone_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"no time zone is called 'Europe/Prag': did you mean 'Europe/Prague'\?"):
        default_calendar("Europe/Prag")


@pytest.mark.parametrize("zone", ["", "../etc/passwd", "/etc/localtime", "Europe"])
def test_what_is_no_zone_is_no_crash(zone):
    with pytest.raises(ValueError, match="no time zone is called"):
        default_calendar(zone)


def test_a_country_has_its_holidays_in_every_year():
    assert OFFICE.is_holiday(date(2026, 7, 6))
    assert OFFICE.is_holiday(date(2099, 11, 17))
    assert not OFFICE.is_holiday(date(2026, 7, 7))


def test_a_part_of_a_country_has_holidays_of_its_own():
    assert date(2026, 1, 6) in country_holidays("DE-BY")(2026)
    assert date(2026, 1, 6) not in country_holidays("DE")(2026)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("cz", "country 'cz': did you mean 'CZ'?"),
        ("QQ", "country 'QQ'"),
        ("DE-BYY", "no part of DE is called 'BYY': did you mean 'BY'?"),
        ("CZ-10", "no part of CZ is called '10': it has none"),
    ],
)
def test_an_unknown_country_is_refused_with_the_nearest(code, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is compared below, unescaped
        build_calendar("office", "UTC", {"mon": "09:00-10:00"}, [code])
    assert message in str(caught.value)


def ics(*events):
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test"]
    for number, event in enumerate(events):
        lines += ["BEGIN:VEVENT", f"UID:{number}", "DTSTAMP:20260101T000000Z", *event, "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def test_all_day_events_of_a_file_are_days_off():
    days = holidays_from_ics(
        ics(
            ("DTSTART;VALUE=DATE:20261230", "DTEND;VALUE=DATE:20270102", "TRANSP:TRANSPARENT"),
            ("DTSTART;VALUE=DATE:20260501",),
            ("DTSTART:20260601T090000Z", "DTEND:20260601T170000Z"),
            ("DTSTART;VALUE=DATE:20260701", "STATUS:CANCELLED"),
        )
    )
    assert days(2026) == {date(2026, 12, 30), date(2026, 12, 31), date(2026, 5, 1)}
    assert days(2027) == {date(2027, 1, 1)}


def test_recurring_all_day_events_are_days_off_in_every_year():
    days = holidays_from_ics(ics(("DTSTART;VALUE=DATE:20200314", "RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20270314")))
    assert days(2019) == days(2027) == frozenset()
    assert days(2099) == {date(2099, 3, 14)}


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xfe\x00", b"BEGIN:VCALENDAR\r\n", ics(("DTSTART:today",))])
def test_a_broken_file_of_days_off_is_refused_with_a_sentence(data):
    with pytest.raises(ValueError, match="cannot be read as an iCalendar file"):
        holidays_from_ics(data)


def test_days_off_of_several_sources_are_joined():
    company = holidays_from_ics(ics(("DTSTART;VALUE=DATE:20260302",)))
    calendar = build_calendar("all", "UTC", {"mon-fri": "09:00-17:00"}, ["CZ", frozenset({date(2026, 3, 3)}), company])
    assert next_open(calendar, MONDAY) == datetime(2026, 3, 4, 9, tzinfo=UTC)
    assert not calendar.is_working_day(date(2026, 5, 1))


# --- arithmetic


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        ("2026-03-02T10:00", "3bd", "2026-03-05T10:00:00"),  # Monday to Thursday
        ("2026-03-06T16:00", "1bd", "2026-03-09T16:00:00"),  # Friday to Monday
        ("2026-03-07T03:00", "1bd", "2026-03-09T03:00:00"),  # Saturday: the first following working day
        ("2026-04-02T10:00", "1bd", "2026-04-07T10:00:00"),  # over Good Friday and Easter Monday
        ("2026-03-27T10:00", "1bd", "2026-03-30T10:00:00"),  # the clock goes forward: the time of day stays
        ("2026-03-28T10:00", "1d", "2026-03-29T11:00:00"),  # 24 hours do not
        ("2026-02-28T02:30", "P29D", "2026-03-29T03:30:00"),  # exact seconds into the gap
        ("2026-01-31T09:00", "P1M", "2026-02-28T09:00:00"),
        ("2028-01-31T09:00", "P1M", "2028-02-29T09:00:00"),
        ("2026-12-31T09:00", "P2M", "2027-02-28T09:00:00"),
        ("2026-02-28T02:30", "P1MT24H", "2026-03-29T03:30:00"),
        ("2026-03-02T10:00", "1bd2h", "2026-03-03T12:00:00"),
        ("2026-03-07T10:00", "0bd", "2026-03-07T10:00:00"),
    ],
)
def test_adding_keeps_local_time(start, duration, expected):
    assert plus(start, duration) == expected


def test_a_local_time_that_does_not_exist_moves_forward_by_the_gap():
    every_day = build_calendar("all", "Europe/Prague", {"mon-sun": "00:00-24:00"})
    assert plus("2026-03-28T02:30", "1bd", every_day) == "2026-03-29T03:30:00"


def test_an_ambiguous_local_time_is_the_first_of_the_two():
    every_day = build_calendar("all", "Europe/Prague", {"mon-sun": "00:00-24:00"})
    assert add(prague("2026-10-24T02:30"), Duration(0, 1), every_day) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_the_second_of_two_equal_local_times_stays_itself_when_only_seconds_are_added():
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert add(second, Duration(60), OFFICE) == second + timedelta(minutes=1)


def test_subtracting_lands_on_the_preceding_working_day():
    assert subtract(prague("2026-03-09T10:00"), Duration(0, 1), OFFICE) == prague("2026-03-06T10:00")
    assert subtract(prague("2026-03-31T10:00"), Duration(0, 0, 1), OFFICE) == prague("2026-02-28T10:00")


def test_the_day_that_samoa_left_out_is_no_working_day():
    apia = build_calendar("apia", "Pacific/Apia", {"mon-sun": "09:00-17:00"})
    start = datetime(2011, 12, 29, 10, tzinfo=ZoneInfo("Pacific/Apia"))
    assert add(start, Duration(0, 1), apia).astimezone(ZoneInfo("Pacific/Apia")).date() == date(2011, 12, 31)
    assert business_days_between(start, add(start, Duration(0, 1), apia), apia) == 1


def test_a_calendar_that_never_opens_is_an_error_and_no_endless_loop():
    always_off = Calendar("off", "UTC", WEEKDAYS_9_TO_5.hours, lambda year: _every_day_of(year))
    for calendar in (NEVER, always_off):
        with pytest.raises(ValueError, match=f"calendar '{calendar.name}' never opens"):
            add(MONDAY, Duration(0, 1), calendar)
        with pytest.raises(ValueError, match=f"calendar '{calendar.name}' never opens"):
            next_open(calendar, MONDAY)


@functools.cache
def _every_day_of(year):
    return frozenset(date(year, 1, 1) + timedelta(days=n) for n in range(366))


@pytest.mark.parametrize("duration", [Duration(1e18), Duration(1e11), Duration(0, 10_001), Duration(0, 0, 10**6)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_result_beyond_the_calendar_is_a_value_error(duration, sign):
    with pytest.raises(ValueError, match=r"longer than the calendar|outside the years|working days can be counted"):
        add(datetime(9000, 1, 1, tzinfo=UTC), Duration(duration.seconds * 10, duration.business_days, duration.months),
            OFFICE, sign)  # fmt: skip


def test_an_instant_without_a_zone_is_refused():
    for call in (lambda t: add(t, Duration(1), OFFICE), lambda t: is_open(OFFICE, t), lambda t: next_open(OFFICE, t)):
        with pytest.raises(ValueError, match="must have a zone"):
            call(datetime(2026, 3, 2, 9))  # noqa: DTZ001  the point of the test


# --- opening hours


def test_opening_hours_include_their_start_and_not_their_end():
    assert is_open(OFFICE, prague("2026-03-02T09:00"))
    assert not is_open(OFFICE, prague("2026-03-02T17:30"))
    assert not is_open(OFFICE, prague("2026-03-02T08:59:59"))


def test_hours_until_midnight_go_on_into_the_next_day():
    calendar = build_calendar("all", "Europe/Prague", {"mon-sun": "00:00-24:00"})
    start, end = prague("2026-03-28T12:00"), prague("2026-03-31T12:00")
    assert open_intervals(calendar, start, end) == [(start, end)]


def test_the_next_opening_skips_weekend_and_holiday():
    assert next_open(OFFICE, prague("2026-04-02T17:30")) == prague("2026-04-07T09:00")
    assert next_open(OFFICE, prague("2026-04-02T11:11")) == prague("2026-04-02T11:11")


def test_a_day_with_a_changed_clock_keeps_its_local_hours():
    calendar = build_calendar("sunday", "Europe/Prague", {"sun": "01:00-05:00"})
    assert open_intervals(calendar, prague("2026-03-29T00:00"), prague("2026-03-30T00:00")) == [
        (datetime(2026, 3, 29, 0, tzinfo=UTC), datetime(2026, 3, 29, 3, tzinfo=UTC))
    ]


def test_hours_that_end_in_a_gap_over_midnight_end_where_it_begins():
    calendar = build_calendar("evening", "Asia/Pyongyang", {"fri": "20:00-23:45"})
    gap = datetime(2018, 5, 4, 15, tzinfo=UTC)  # 23:30 of 4 May was 00:00 of 5 May
    assert is_open(calendar, gap - timedelta(minutes=1))
    assert not is_open(calendar, gap)


# --- properties: any zone, any year from 2000 to 2100

zones = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 1), timezones=st.just(UTC))  # noqa: DTZ001
stretch = st.lists(st.integers(0, 1440), min_size=2, max_size=4, unique=True).map(
    lambda cuts: ", ".join(f"{_hm(a)}-{_hm(b)}" for a, b in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False))
)
days_off = st.frozensets(st.dates(date(2000, 1, 1), date(2100, 12, 31)), max_size=5)


def _hm(minutes):
    return f"{minutes // 60:02}:{minutes % 60:02}"


@st.composite
def calendars(draw, hours=stretch):
    days = draw(st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1))
    return build_calendar("any", draw(zones), {day: draw(hours) for day in days}, [draw(days_off)])


@given(calendars(), instants, st.integers(-40, 40))
def test_adding_and_counting_working_days_agree(calendar, instant, count):
    there = add(instant, Duration(0, abs(count)), calendar, 1 if count > 0 else -1)
    if count and _wall(there, calendar).time() == _wall(instant, calendar).time():
        assert business_days_between(instant, there, calendar) == count
        assert business_days_between(there, instant, calendar) == -count or not calendar.is_working_day(
            _wall(instant, calendar).date()
        )


def _wall(instant, calendar):
    return instant.astimezone(calendar.zone).replace(tzinfo=None)


@given(calendars(), instants, st.integers(1, 40))
def test_working_days_land_on_working_days_and_later_counts_land_later(calendar, instant, count):
    there, further = (add(instant, Duration(0, n), calendar) for n in (count, count + 1))
    assert instant < there < further
    if _wall(there, calendar).time() == _wall(instant, calendar).time():
        assert calendar.is_working_day(_wall(there, calendar).date())


@given(calendars(), instants, instants, st.integers(0, 40))
def test_adding_working_days_keeps_the_order_of_dates(calendar, one, other, count):
    earlier, later = sorted((one, other))
    dates = [_wall(add(instant, Duration(0, count), calendar), calendar).date() for instant in (earlier, later)]
    assert dates == sorted(dates)


@given(calendars(), instants, instants, st.floats(0, 1e8))
def test_exact_durations_keep_the_order_and_can_be_taken_back(calendar, one, other, seconds):
    duration = Duration(seconds)
    assert (add(one, duration, calendar) < add(other, duration, calendar)) == (one < other)
    assert subtract(add(one, duration, calendar), duration, calendar) == one


@given(calendars(), instants, st.integers(0, 60))
def test_opening_hours_are_in_order_apart_inside_and_agree_with_is_open(calendar, start, days):
    end = start + timedelta(days=days, hours=1)
    found = open_intervals(calendar, start, end)
    edges = [edge for stretch in found for edge in stretch]
    assert edges == sorted(set(edges))
    assert all(start <= edge <= end for edge in edges)
    for opens, closes in found:
        assert is_open(calendar, opens)
        assert is_open(calendar, closes - timedelta(microseconds=1))
        assert closes == end or not is_open(calendar, closes)


@given(calendars(), instants)
def test_open_means_inside_the_local_hours_where_the_clock_is_not_set_that_day(calendar, instant):
    wall = _wall(instant, calendar)
    around = {(instant + timedelta(days=n)).astimezone(calendar.zone).utcoffset() for n in (-2, -1, 0, 1, 2)}
    if len(around) == 1:
        hours = calendar.hours[wall.weekday()] if calendar.is_working_day(wall.date()) else ()
        inside = any(opens <= wall.time() and (wall.time() < closes or closes == time.min) for opens, closes in hours)
        assert is_open(calendar, instant) == inside


@given(calendars(), instants)
def test_the_next_opening_is_the_first(calendar, instant):
    there = next_open(calendar, instant)
    assert is_open(calendar, there)
    assert open_intervals(calendar, instant, there) == []


offsets = st.integers(0, 300).map(lambda n: MONDAY + n * timedelta(minutes=5))
stretches = st.lists(st.tuples(offsets, offsets), max_size=8)


def _minutes(found):
    return {
        start + n * timedelta(minutes=5) for start, end in found for n in range((end - start) // timedelta(minutes=5))
    }


@given(stretches, stretches)
def test_results_on_stretches_are_in_order_and_apart(first, second):
    for found in (merge(first), intersect(first, second), without(first, second)):
        edges = [edge for stretch in found for edge in stretch]
        assert edges == sorted(set(edges))


@given(stretches, stretches)
def test_stretches_of_time_are_sets(first, second):
    assert _minutes(merge(first)) == _minutes(first)
    assert _minutes(intersect(first, second)) == _minutes(first) & _minutes(second)
    assert _minutes(without(first, second)) == _minutes(first) - _minutes(second)


# --- slots

diaries = st.lists(st.builds(Diary, st.sampled_from(["ada", "grace", "alan"]), stretches, stretches), max_size=3)


@given(diaries, offsets, offsets, st.integers(1, 20).map(lambda n: n * timedelta(minutes=5)))
def test_the_slot_is_the_first_that_suits_everybody(people, start, end, length):
    free = [_minutes(diary.open) - _minutes(diary.busy) for diary in people]
    candidates = [MONDAY + n * QUARTER for n in range(110)]
    fitting = [
        c for c in candidates
        if start <= c and c + length <= end and all(_minutes([(c, c + length)]) <= mine for mine in free)
    ]  # fmt: skip
    found = first_slot(people, start, end, length, "UTC")
    assert found.slot == ((fitting[0], fitting[0] + length) if fitting else None)


@settings(max_examples=50)
@given(calendars(), calendars(), instants, st.integers(1, 8).map(lambda n: n * QUARTER), zones)
def test_no_slot_lies_outside_working_hours(one, other, start, length, zone):
    end = start + timedelta(days=10)
    people = [Diary(calendar.name, open_intervals(calendar, start, end)) for calendar in (one, other)]
    slot = first_slot(people, start, end, length, zone).slot
    if slot:
        assert start <= slot[0] < slot[1] <= end
        assert all(intersect([slot], diary.open) == [slot] for diary in people)
        local = slot[0].astimezone(ZoneInfo(zone))
        assert (local.minute % 15, local.second, local.microsecond) == (0, 0, 0)


def at(hour, minute=0, day=2):
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def test_the_search_says_who_stood_against_the_earlier_starts():
    ada = Diary("ada", [(at(9), at(17))])
    grace = Diary("grace", [(at(10), at(17))], [(at(10, 30), at(11, 20))])
    found = first_slot([ada, grace], at(9, 50), at(17), timedelta(minutes=45), "UTC")
    assert found.slot == (at(11, 30), at(12, 15))
    assert found.passed_over == (Hindrance(at(10), "grace", "busy", at(11, 20), at(11, 20)),)


def test_the_search_goes_on_where_the_last_of_those_hindered_is_free():
    ada = Diary("ada", [(at(9), at(17))], [(at(9), at(10))])
    grace = Diary("grace", [(at(9), at(17))], [(at(9), at(12))])
    found = first_slot([ada, grace], at(9), at(17), HOUR, "UTC")
    assert [(why.start, why.who) for why in found.passed_over] == [(at(9), "ada"), (at(9), "grace")]
    assert found.slot == (at(12), at(13))


def test_the_search_passes_over_free_stretches_that_are_too_short():
    ada = Diary("ada", [(at(9), at(17))], [(at(9), at(10)), (at(10, 30), at(12))])
    found = first_slot([ada], at(9), at(17), HOUR, "UTC")
    assert found.passed_over == (Hindrance(at(9), "ada", "busy", at(10), at(12)),)


def test_a_slot_may_fill_a_free_stretch_and_the_window_exactly():
    ada = Diary("ada", [(at(9), at(17))], [(at(10), at(17))])
    assert first_slot([ada], at(9), at(10), HOUR, "UTC").slot == (at(9), at(10))


def test_the_search_says_when_somebody_is_not_at_work_yet():
    found = first_slot([Diary("ada", [(at(9), at(17))])], at(6), at(17), HOUR, "UTC")
    assert found.passed_over == (Hindrance(at(6), "ada", "closed", at(9), at(9)),)
    assert found.slot == (at(9), at(10))


def test_the_search_names_those_who_alone_make_it_impossible():
    people = [
        Diary("ada", [(at(9), at(17))]),
        Diary("grace", [(at(9, day=3), at(17, day=3))]),
        Diary("alan", [(at(9), at(9, 30)), (at(10), at(10, 30))]),
        Diary("edsger", [(at(9), at(17))], [(at(8), at(12)), (at(12, 30), at(18))]),
    ]
    found = first_slot(people, at(8), at(18), HOUR, "UTC")
    assert found.slot is None
    assert found.impossible == {"grace": "closed", "alan": "short", "edsger": "busy"}


def test_nobody_is_named_where_the_hours_never_meet():
    people = [Diary("ada", [(at(9), at(12))]), Diary("grace", [(at(13), at(17))])]
    found = first_slot(people, at(8), at(18), HOUR, "UTC")
    assert (found.slot, found.impossible) == (None, {})


@pytest.mark.parametrize(
    ("zone", "earliest", "expected"),
    [
        ("Asia/Kathmandu", "2026-03-02T09:01+05:45", "2026-03-02T10:00+05:45"),
        ("Europe/Prague", "2026-03-29T01:50+01:00", "2026-03-29T03:00+02:00"),
        ("Europe/Prague", "2026-10-25T02:50+01:00", "2026-10-25T03:00+01:00"),
        ("Australia/Lord_Howe", "2026-10-04T01:50+10:30", "2026-10-04T03:00+11:00"),
        ("Europe/Prague", "2026-03-02T23:01+01:00", "2026-03-03T00:00+01:00"),
    ],
)
def test_starts_lie_on_whole_steps_of_local_time(zone, earliest, expected):
    start = datetime.fromisoformat(earliest)
    found = first_slot([], start, start + timedelta(hours=5), HOUR, zone, granularity=HOUR)
    assert found.slot is not None
    assert found.slot[0] == datetime.fromisoformat(expected)


def test_steps_are_counted_anew_from_midnight():
    found = first_slot([], at(22), at(9, day=3), HOUR, "UTC", granularity=7 * HOUR)
    assert found.slot == (at(0, day=3), at(1, day=3))


def test_a_slot_without_length_is_refused():
    with pytest.raises(ValueError, match="above zero"):
        first_slot([], at(9), at(10), timedelta(0), "UTC")
