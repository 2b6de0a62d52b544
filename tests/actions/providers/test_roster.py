from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.providers.roster import Roster as RosterProvider
from actions.providers.roster import RosterOptions, on_shift
from engine.calendars import Duration, parse_duration
from engine.domain import Person, Roster, Rotation, Service, Team
from tests.fakes import FakeConnection

PRAGUE = ZoneInfo("Europe/Prague")
ADA = Person("ada", "Ada", email="Ada@Example.com", ids={"pagerduty": "P1"})
GRACE = Person("grace", "Grace", email="grace@example.com")
NAMESAKES = {"joan": Person("joan", "Joan"), "joan2": Person("joan2", "Joan")}


def a_rotation(members=("ada", "grace"), every="7d", start="2026-01-05T09:00", zone="Europe/Prague", name="default"):
    return Rotation(name, tuple(members), parse_duration(every), datetime.fromisoformat(start), zone)


def local(text, zone=PRAGUE):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def roster(**more):
    parts = {
        "people": {"ada": ADA, "grace": GRACE, **NAMESAKES},
        "teams": {"sre": Team("sre", "SRE", members=("ada",), rotation="nights"), "web": Team("web", "Web")},
        "services": {
            "checkout": Service("checkout", "Checkout", team="sre"),
            "search": Service("search", "Search", team="sre", rotation="searchers"),
            "blog": Service("blog", "Blog", team="web"),
        },
        "rotations": {
            "default": a_rotation(["ada"]),
            "nights": a_rotation(["grace"], name="nights"),
            "searchers": a_rotation(["joan"], name="searchers"),
        },
    } | more
    return RosterProvider.build(RosterOptions(), FakeConnection(Path(), name="roster", roster=Roster(**parts)))


@pytest.mark.parametrize("key", ["ada", "ADA@example.COM", "pagerduty:P1", "Ada", " ada "])
def test_a_person_is_found_by_key_e_mail_foreign_id_or_name(key):
    found = roster().person(key)
    assert (found.id, found.known, found.team) == ("ada", True, "sre")


@pytest.mark.parametrize("key", ["", "nobody", "Joan", "jira:P1"])
def test_what_fits_nobody_or_two_people_finds_nobody(key):
    assert roster().person(key) is None


@pytest.mark.parametrize(
    "stub",
    [
        Person("pagerduty:P9", "A.", email="ada@example.com"),
        Person("pagerduty:P1", "A."),
        Person("slack:U1", "A.", ids={"pagerduty": "P1"}),
    ],
)
def test_somebody_a_vendor_named_is_joined_by_e_mail_or_id(stub):
    assert roster().join(stub).id == "ada"


def test_nobody_is_joined_by_name():
    stub = Person("pagerduty:P9", "Ada")
    assert roster().join(stub) == stub


def test_the_e_mail_counts_before_the_id():
    assert roster().join(Person("pagerduty:P1", "?", email="grace@example.com")).id == "grace"


@pytest.mark.parametrize(
    ("target", "member"),
    [
        (None, "ada"),
        ("checkout", "grace"),
        ("search", "joan"),
        ("blog", "ada"),
        ("sre", "grace"),
        ("web", "ada"),
        ("nights", "grace"),
        ("unheard of", "ada"),
    ],
)
async def test_on_call_is_the_services_rotation_else_its_teams_else_the_default(target, member):
    assert (await roster().on_call(target, local("2026-02-01T12:00"))).id == member


async def test_without_a_default_rotation_nobody_is_on_call():
    assert await roster(rotations={}).on_call("checkout", local("2026-02-01T12:00")) is None


@pytest.mark.parametrize(
    ("at", "member"),
    [
        ("2026-01-05T08:59", None),
        ("2026-01-05T09:00", "ada"),
        ("2026-01-12T08:59", "ada"),
        ("2026-01-12T09:00", "grace"),
        ("2026-01-19T09:00", "ada"),
    ],
)
def test_shifts_follow_one_another_from_the_start_and_nobody_is_on_before(at, member):
    assert on_shift(a_rotation(), local(at)) == member


@pytest.mark.parametrize("week", ["2026-03-30", "2026-10-26"])
def test_a_hand_over_keeps_its_local_time_after_the_clocks_change(week):
    before, after = (on_shift(a_rotation(), local(f"{week}T{time}")) for time in ("08:59:59", "09:00"))
    assert {before, after} == {"ada", "grace"}


def test_a_hand_over_in_a_repeated_hour_happens_once():
    daily = a_rotation(every="1d", start="2026-10-24T02:30")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    shifts = [on_shift(daily, first + timedelta(minutes=minutes)) for minutes in range(-1, 90, 10)]
    assert shifts == ["ada"] + ["grace"] * 9


def test_a_hand_over_in_a_skipped_hour_comes_after_the_gap():
    daily = a_rotation(every="1d", start="2026-03-28T02:30")
    times = [datetime(2026, 3, 29, 1, minute, tzinfo=UTC) for minute in (29, 30)]
    assert [on_shift(daily, at) for at in times] == ["ada", "grace"]


def test_shifts_may_be_shorter_than_a_day():
    assert [on_shift(a_rotation(every="12h"), local(f"2026-07-01T{time}")) for time in ("08:59", "09:00", "21:00")] == [
        "grace",
        "ada",
        "grace",
    ]


def test_a_rotation_by_months_hands_over_at_the_end_of_a_shorter_month():
    monthly = a_rotation(every="P1M", start="2026-01-31T09:00")
    times = ["2026-02-28T08:59", "2026-02-28T09:00", "2026-03-31T08:59", "2026-03-31T09:00"]
    assert [on_shift(monthly, local(at)) for at in times] == ["ada", "grace", "grace", "ada"]


def test_a_start_with_an_offset_is_read_in_the_rotations_zone():
    assert on_shift(a_rotation(start="2026-01-05T08:00+00:00"), local("2026-07-06T09:00")) == "ada"
    assert on_shift(a_rotation(start="2026-01-05T08:00+00:00"), local("2026-07-06T08:59")) == "grace"


async def test_a_rotation_of_nobody_has_nobody_on_call():
    assert await roster(rotations={"default": a_rotation([])}).on_call(None, local("2026-02-01T12:00")) is None


@pytest.mark.parametrize("every", [Duration(), Duration(business_days=1), Duration(3600, months=1)])
def test_a_rotation_whose_length_cannot_be_counted_is_refused_at_the_start(every):
    with pytest.raises(ValueError, match="'every' of rotation 'default' must be a duration"):
        roster(rotations={"default": Rotation("default", ("ada",), every, datetime(2026, 1, 5, 9), "UTC")})  # noqa: DTZ001


@given(
    every=st.sampled_from(["30m", "8h", "12h", "1d", "7d", "P1M"]),
    zone=st.sampled_from(["Europe/Prague", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    start=st.datetimes(datetime(2025, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001  local to the zone
    later=st.timedeltas(timedelta(), timedelta(days=700)),
)
async def test_a_shift_lasts_exactly_as_long_as_nobody_else_would_be_found(every, zone, start, later):
    rotation = a_rotation(("ada", "grace", "joan"), every, start.isoformat(), zone)
    known = roster(rotations={"default": rotation})
    at = start.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) + later
    (shift,) = await known.shifts(at)
    assert shift.person is not None
    assert shift.start <= at < shift.end
    last = shift.end - timedelta(microseconds=1)
    times = [shift.start, at, shift.start + (shift.end - shift.start) / 2, last]
    assert {on_shift(rotation, one) for one in times} == {shift.person.id}
    (following,) = await known.shifts(shift.end)
    assert (following.start, following.person.id == shift.person.id) == (shift.end, False)


async def test_of_short_shifts_in_a_skipped_hour_one_ends_where_a_later_one_comes_first():
    rotation = a_rotation(("ada", "grace"), "45m", "2026-03-29T00:40")  # 01:25, then 03:10, 03:55 and 03:40
    (shift,) = await roster(rotations={"default": rotation}).shifts(datetime(2026, 3, 29, 1, 10, tzinfo=UTC))
    assert (shift.start.minute, shift.end.minute) == (10, 40)


async def test_before_a_rotation_starts_nobody_has_a_shift_and_its_end_is_known():
    (shift,) = await roster(rotations={"default": a_rotation()}).shifts(local("2025-12-24T18:00"))
    assert (shift.person, shift.start, shift.end, shift.firm) == (None, None, local("2026-01-05T09:00"), True)


async def test_a_rotation_of_nobody_has_no_shift():
    assert await roster(rotations={"default": a_rotation([])}).shifts(local("2026-02-01T12:00")) == []
