import dataclasses
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from actions.calendar import RescheduleReview, ScheduleReview, reschedule, schedule
from actions.providers.ics import Ics, IcsOptions
from engine.capabilities import Interval
from engine.domain import Person
from engine.plugins import ActionError, EffectClass, RetryLater, effect_class
from tests.fakes import ADA, GRACE, FakeConnection, FakeContext, FakePeople, an_effect

PRAGUE = dataclasses.replace(ADA, timezone="Europe/Prague")
START, END = datetime(2026, 3, 2, 0, tzinfo=UTC), datetime(2026, 3, 7, 0, tzinfo=UTC)


def at(hour, minute=0, day=2):
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def connection(tmp_path):
    return FakeConnection(tmp_path, name="reviews", people=FakePeople([PRAGUE, GRACE]))


@pytest.fixture
def ics(connection):
    return Ics.build(IcsOptions(), connection)


def event(*lines):
    return "\n".join(["BEGIN:VEVENT", "UID:e1", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"])


def keep(connection, name, *events):
    path = connection.folder / "calendars" / name
    path.parent.mkdir(exist_ok=True)
    text = "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test", *events, "END:VCALENDAR", ""])
    path.write_text(text.replace("\n", "\r\n"))


async def busy(ics, person=PRAGUE):
    found = (await ics.busy([person], START, END))[person.id]
    return None if found is None else [(interval.start, interval.end) for interval in found]


async def book(ics, token="tok1", title="Review", start=None, attendees=(PRAGUE,), **more):
    start = start or at(9)
    given = {"description": "", "timezone": "Europe/Prague", "incident": None} | more
    return await ics.create(
        title, start, start + timedelta(hours=1), attendees=attendees, effect=an_effect(token), **given
    )


def invitation(connection):
    (path,) = (connection.folder / "reviews").iterdir()
    return Calendar.from_ical(path.read_bytes())


# --- when people are busy


async def test_somebody_without_a_file_is_not_found(ics):
    assert await busy(ics) is None


async def test_a_meeting_makes_busy(ics, connection):
    keep(connection, "ada.ics", event("DTSTART:20260302T100000Z", "DTEND:20260302T110000Z"))
    assert await busy(ics) == [(at(10), at(11))]


async def test_a_calendar_may_have_a_name_of_its_own(ics, connection):
    keep(connection, "team.ics", event("DTSTART:20260302T100000Z", "DURATION:PT30M"))
    assert await busy(ics, dataclasses.replace(ADA, calendar="team.ics")) == [(at(10), at(10, 30))]


async def test_a_recurring_meeting_makes_busy_each_time_but_the_excepted_and_the_moved(ics, connection):
    keep(
        connection,
        "ada.ics",
        event(
            "DTSTART;TZID=Europe/Prague:20260105T100000",
            "DTEND;TZID=Europe/Prague:20260105T103000",
            "RRULE:FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR",
            "EXDATE;TZID=Europe/Prague:20260303T100000,20260305T100000",
        ),
        event(
            "RECURRENCE-ID;TZID=Europe/Prague:20260304T100000",
            "DTSTART;TZID=Europe/Prague:20260304T150000",
            "DTEND;TZID=Europe/Prague:20260304T160000",
        ),
    )
    assert await busy(ics) == [
        (at(9), at(9, 30)),
        (at(14, day=4), at(15, day=4)),
        (at(9, day=6), at(9, 30, day=6)),
    ]


async def test_a_recurring_meeting_keeps_its_local_time_when_the_clock_is_set(ics, connection):
    daily = ["DTSTART;TZID=Europe/Prague:20260105T100000", "DTEND;TZID=Europe/Prague:20260105T110000"]
    keep(connection, "ada.ics", event(*daily, "RRULE:FREQ=DAILY"))
    around = await ics.busy([PRAGUE], at(0, day=28), at(0, day=30))
    assert [interval.start for interval in around["ada"]] == [at(9, day=28), at(8, day=29)]


@pytest.mark.parametrize(
    "line", ["TRANSP:TRANSPARENT", "STATUS:CANCELLED", "ATTENDEE;PARTSTAT=DECLINED:MAILTO:Ada@example.com"]
)
async def test_what_takes_no_time_does_not_make_busy(ics, connection, line):
    keep(connection, "ada.ics", event("DTSTART:20260302T100000Z", "DTEND:20260302T110000Z", line))
    assert await busy(ics) == []


async def test_what_somebody_else_declined_makes_busy(ics, connection):
    line = "ATTENDEE;PARTSTAT=DECLINED:mailto:grace@example.com"
    keep(connection, "ada.ics", event("DTSTART:20260302T100000Z", "DTEND:20260302T110000Z", line))
    assert await busy(ics) == [(at(10), at(11))]


async def test_a_whole_day_is_a_day_of_the_persons_zone(ics, connection):
    keep(connection, "ada.ics", event("DTSTART;VALUE=DATE:20260303", "DTEND;VALUE=DATE:20260305"))
    assert await busy(ics) == [(at(23), at(23, day=4))]


async def test_a_floating_time_is_a_time_of_the_persons_zone(ics, connection):
    keep(connection, "ada.ics", event("DTSTART:20260303T100000", "DTEND:20260303T110000"))
    assert await busy(ics) == [(at(9, day=3), at(10, day=3))]


async def test_a_floating_time_counts_where_it_is_another_day_in_utc(ics, connection):
    keep(connection, "ada.ics", event("DTSTART:20260301T200000", "DTEND:20260301T210000"))
    assert await busy(ics, dataclasses.replace(ADA, timezone="America/New_York")) == [(at(1), at(2))]


async def test_a_floating_time_of_somebody_without_a_zone_is_of_the_projects(ics, connection):
    keep(connection, "grace.ics", event("DTSTART:20260303T100000", "DTEND:20260303T110000"))
    connection.zone = "Asia/Tokyo"
    assert await busy(ics, GRACE) == [(at(1, day=3), at(2, day=3))]


async def test_a_zone_that_the_file_itself_defines_is_understood(ics, connection):
    zone = "\n".join(
        ["BEGIN:VTIMEZONE", "TZID:Our Office", "BEGIN:STANDARD", "DTSTART:20000101T000000", "TZOFFSETFROM:+0300",
         "TZOFFSETTO:+0300", "END:STANDARD", "END:VTIMEZONE"]
    )  # fmt: skip
    meeting = event("DTSTART;TZID=Our Office:20260303T100000", "DTEND;TZID=Our Office:20260303T110000")
    keep(connection, "ada.ics", zone, meeting)
    assert await busy(ics) == [(at(7, day=3), at(8, day=3))]


async def test_times_are_cut_to_what_is_asked_for(ics, connection):
    keep(connection, "ada.ics", event("DTSTART;VALUE=DATE:20260201", "DTEND;VALUE=DATE:20260401"))
    assert await busy(ics) == [(START, END)]


async def test_a_changed_file_is_read_again(ics, connection):
    keep(connection, "ada.ics", event("DTSTART:20260302T100000Z", "DTEND:20260302T110000Z"))
    await busy(ics)
    keep(connection, "ada.ics", event("DTSTART:20260302T100000Z", "DTEND:20260302T120000Z", "SUMMARY:longer"))
    assert await busy(ics) == [(at(10), at(12))]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\n",
        "BEGIN:VCALENDAR\n" + event("DTSTART:someday") + "\nEND:VCALENDAR\n",
        "BEGIN:VCALENDAR\n" + event("SUMMARY:no start") + "\nEND:VCALENDAR\n",
        "BEGIN:VCALENDAR\n" + event("DTSTART:20260302T100000Z", "RRULE:FREQ=SOMETIMES") + "\nEND:VCALENDAR\n",
        "BEGIN:VCALENDAR\n" + event("DTSTART:20260302T100000Z", "RRULE:FREQ=SECONDLY") + "\nEND:VCALENDAR\n",
    ],
)
async def test_a_broken_file_is_a_problem_that_names_it(ics, connection, text):
    keep(connection, "ada.ics")
    (connection.folder / "calendars" / "ada.ics").write_text(text)
    with pytest.raises(ActionError, match=r"the calendar file 'calendars/ada.ics' cannot be read"):
        await busy(ics)
    assert "calendars/ada.ics" in await ics.check()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
async def test_no_bytes_crash_the_reader(tmp_path, data):
    connection = FakeConnection(tmp_path, people=FakePeople([ADA]))
    (tmp_path / "calendars").mkdir(exist_ok=True)
    (tmp_path / "calendars" / "ada.ics").write_bytes(b"BEGIN:VCALENDAR\r\n" + data + b"\r\nEND:VCALENDAR\r\n")
    reader = Ics.build(IcsOptions(), connection)
    problem = await reader.check()
    assert problem is None or problem.startswith("the calendar file 'calendars/ada.ics' cannot be read")


@pytest.mark.parametrize("name", ["../secret.ics", "/etc/hosts", "link.ics"])
async def test_a_calendar_outside_the_folder_is_refused(ics, connection, name):
    (connection.folder / "secret.ics").write_text("BEGIN:VCALENDAR\nEND:VCALENDAR\n")
    keep(connection, "ada.ics")
    os.symlink(connection.folder / "secret.ics", connection.folder / "calendars" / "link.ics")
    with pytest.raises(ActionError, match="leads out of the folder 'calendars'"):
        await busy(ics, dataclasses.replace(ADA, calendar=name))


@pytest.mark.parametrize("key", ["../secret", "pager:P/../../secret", "a\x00b", "x" * 500])
async def test_an_id_from_a_vendor_is_no_way_out_of_the_folder(ics, connection, key):
    (connection.folder / "secret.ics").write_text("BEGIN:VCALENDAR\nEND:VCALENDAR\n")
    assert await busy(ics, Person(key, "Stranger")) is None


async def test_a_folder_with_readable_calendars_has_no_problem(ics, connection):
    keep(connection, "ada.ics", event("DTSTART:20260302T100000Z", "DTEND:20260302T110000Z"))
    assert await ics.check() is None


# --- what is booked


async def test_an_invitation_says_who_when_and_what(ics, connection):
    await book(
        ics,
        title="Review; of, checkout",
        attendees=[PRAGUE, GRACE],
        description="See [the report](https://x.example/1)\n\n\\# 1",
    )
    calendar = invitation(connection)
    (meeting,) = calendar.events
    assert str(calendar["METHOD"]) == "REQUEST"
    assert str(meeting["UID"]) == "tok1@hotwash"
    assert str(meeting["SUMMARY"]) == "Review; of, checkout"
    assert str(meeting["DESCRIPTION"]) == "See the report (https://x.example/1)\n\n# 1"
    assert [str(address) for address in meeting["ATTENDEE"]] == ["mailto:ada@example.com", "mailto:grace@example.com"]
    assert meeting["DTSTAMP"].dt == an_effect().at


async def test_an_invitation_is_in_local_time_and_brings_its_zone(ics, connection):
    await book(ics, start=at(9))
    calendar = invitation(connection)
    assert calendar.events[0]["DTSTART"].to_ical() == b"20260302T100000"
    assert [zone["TZID"] for zone in calendar.timezones] == ["Europe/Prague"]


async def test_the_second_of_two_equal_hours_is_written_in_utc(ics, connection):
    review = await book(ics, start=datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    assert invitation(connection).events[0]["DTSTART"].to_ical() == b"20261025T013000Z"
    assert (await ics.find(an_effect())).start == review.start


async def test_an_invitation_in_utc_needs_no_zone(ics, connection):
    await book(ics, start=at(9), timezone="UTC")
    assert invitation(connection).events[0]["DTSTART"].to_ical() == b"20260302T090000Z"


async def test_the_organizer_is_found_in_the_roster(connection):
    ics = Ics.build(IcsOptions(organizer="grace"), connection)
    review = await book(ics)
    assert review.organizer == GRACE
    assert str(invitation(connection).events[0]["ORGANIZER"]) == "mailto:grace@example.com"


async def test_somebody_without_an_address_is_named_in_the_invitation(ics, connection):
    await book(ics, attendees=[Person("edsger", 'Edsger "E" \r\nATTENDEE:mailto:x@example.com', known=True)])
    address = invitation(connection).events[0]["ATTENDEE"]
    assert str(address) == "invalid:nomail"
    assert address.params["CN"] == 'Edsger "E" ATTENDEE:mailto:x@example.com'


async def test_the_review_has_a_url_and_its_connection_in_its_id(ics, connection):
    review = await book(ics, title="Postmortem: Café / größer")
    path = connection.folder / "reviews" / "postmortem-cafe-groer-tok1.ics"
    assert (review.id, review.url) == ("reviews:tok1", path.as_uri())
    assert path.is_file()


@pytest.mark.parametrize("title", ["../../etc/passwd", "☃", ".", "a" * 300, "x\nSTATUS:CANCELLED", "nul\x00\ud800"])
async def test_no_title_leads_out_of_the_folder_or_breaks_the_file(ics, connection, title):
    await book(ics, title=title)
    (meeting,) = invitation(connection).events
    assert str(meeting["STATUS"]) == "CONFIRMED"
    assert len(list(connection.folder.iterdir())) == 1


async def test_booking_says_that_a_review_is_scheduled(ics):
    effect = an_effect()
    review = await ics.create(
        "Review", at(9), at(10), attendees=[PRAGUE], description="", timezone="UTC", incident="pager:I1", effect=effect
    )
    ((name, fact),) = effect.emitted
    assert (name, fact.type, fact.subject_type, fact.subject) == ("reviews", "review.scheduled", "review", review.id)
    assert fact.fields["attendees"] == (PRAGUE,)
    assert (fact.fields["start"], fact.fields["incident"], fact.own) == (at(9), "pager:I1", True)


async def test_booking_again_gives_the_same_review_and_says_so_again(ics, connection):
    first = await book(ics, incident="pager:I1", attendees=[PRAGUE, GRACE])
    content = next((connection.folder / "reviews").iterdir()).read_bytes()
    effect = an_effect()
    again = await ics.create(
        "Renamed", at(14), at(15), attendees=[], description="", timezone="UTC", incident=None, effect=effect
    )
    assert again == first
    assert [path.read_bytes() for path in (connection.folder / "reviews").iterdir()] == [content]
    assert effect.emitted[0][1].fields["title"] == "Review"


async def test_the_same_booking_writes_the_same_bytes(ics, connection, tmp_path):
    await book(ics)
    other = FakeConnection(tmp_path / "other", name="reviews", people=connection.people)
    await book(Ics.build(IcsOptions(), other))
    written = [next((folder / "reviews").iterdir()).read_bytes() for folder in (connection.folder, other.folder)]
    assert written[0] == written[1]


async def test_booking_is_declared_native():
    assert effect_class(Ics.cls.create) is EffectClass.NATIVE


async def test_what_was_booked_is_found_as_its_file_says_now(ics, connection):
    await book(ics, attendees=[PRAGUE, Person("pager:P1", "Guest", email="guest@example.com")])
    path = next((connection.folder / "reviews").iterdir())
    path.write_bytes(path.read_bytes().replace(b"T100000", b"T120000").replace(b"T110000", b"T130000"))
    effect = an_effect()
    found = await ics.find(effect)
    assert [(name, fact.type) for name, fact in effect.emitted] == [("reviews", "review.scheduled")]
    assert (found.start, found.end) == (at(11), at(12))
    assert found.attendees == (PRAGUE, Person("pager:P1", "Guest", email="guest@example.com"))
    assert await ics.find(an_effect("tok2")) is None


async def test_a_booked_review_makes_its_attendees_busy(ics):
    await book(ics, start=at(9), attendees=[PRAGUE, Person("pager:P1", "Guest")])
    assert await busy(ics) == [(at(9), at(10))]
    assert await busy(ics, dataclasses.replace(ADA, id="pager:P9")) == [(at(9), at(10))]
    assert await busy(ics, Person("pager:P1", "Guest")) == [(at(9), at(10))]
    assert await busy(ics, GRACE) is None


@pytest.mark.parametrize(("old", "new"), [(b"STATUS:CONFIRMED", b"STATUS:CANCELLED"), (b"NEEDS-ACTION", b"DECLINED")])
async def test_a_cancelled_or_declined_review_makes_nobody_busy(ics, connection, old, new):
    await book(ics)
    path = next((connection.folder / "reviews").iterdir())
    path.write_bytes(path.read_bytes().replace(old, new))
    assert await busy(ics) is None


async def test_a_review_that_took_the_time_meanwhile_is_not_booked_over(ics, connection):
    await book(ics, "tok1", start=at(9), attendees=[PRAGUE, GRACE])
    with pytest.raises(RetryLater, match="another review was booked for this time"):
        await book(ics, "tok2", start=at(9, 30), attendees=[GRACE])
    await book(ics, "tok3", start=at(10), attendees=[GRACE])
    await book(ics, "tok4", start=at(8), attendees=[GRACE])
    await book(ics, "tok5", start=at(9), attendees=[Person("pager:P1", "Guest")])
    assert len(list((connection.folder / "reviews").iterdir())) == 4


async def test_invitations_may_lie_beside_peoples_calendars(connection):
    ics = Ics.build(IcsOptions(out="calendars"), connection)
    keep(
        connection,
        "ada.ics",
        event("DTSTART:20260302T100000Z", "DTEND:20260302T110000Z", "ATTENDEE:mailto:grace@example.com"),
    )
    await book(ics, start=at(9))
    assert await busy(ics) == [(at(9), at(10)), (at(10), at(11))]
    assert await busy(ics, GRACE) is None


async def test_a_link_in_the_folder_is_not_followed(ics, connection):
    (connection.folder / "reviews").mkdir()
    outside = connection.folder / "outside.txt"
    outside.write_text("mine")
    os.symlink(outside, connection.folder / "reviews" / "review-tok1.ics")
    await book(ics)
    assert outside.read_text() == "mine"
    assert not (connection.folder / "reviews" / "review-tok1.ics").is_symlink()


async def test_a_folder_that_cannot_be_written_is_a_clear_problem(ics, connection):
    (connection.folder / "reviews").write_text("a file")
    with pytest.raises(ActionError, match=r"the invitation 'reviews/review-tok1.ics' cannot be written"):
        await book(ics)


async def test_two_runs_that_schedule_the_same_people_get_different_slots(ics, connection):
    keep(connection, "ada.ics", event("DTSTART:20260302T090000Z", "DTEND:20260302T100000Z"))
    params = ScheduleReview(title="Review", attendees=[PRAGUE, GRACE], duration="1h")
    reviews = [
        await schedule.function(params, FakeContext(effect=an_effect(token), calendar=ics, people=connection.people))
        for token in ("tok1", "tok2", "tok1")
    ]
    assert [review.start for review in reviews] == [at(10), at(11), at(10)]
    assert await ics.busy([GRACE], START, END) == {"grace": [Interval(at(10), at(11)), Interval(at(11), at(12))]}


# --- what is moved and called off


async def move(ics, token="tok9", review="reviews:tok1", start=None, timezone="Europe/Prague", **more):
    start = start or at(13)
    return await ics.reschedule(review, start, start + timedelta(hours=1), timezone=timezone, effect=late(token))


def late(token, **more):
    return dataclasses.replace(an_effect(token, **more), at=an_effect().at + timedelta(hours=2))


async def test_who_may_stay_away_is_invited_as_such(ics, connection):
    review = await book(ics, attendees=[PRAGUE], optional=[GRACE])
    roles = [address.params["ROLE"] for address in invitation(connection).events[0]["ATTENDEE"]]
    assert roles == ["REQ-PARTICIPANT", "OPT-PARTICIPANT"]
    assert (review.attendees, review.optional) == ((PRAGUE, GRACE), (GRACE,))
    assert await ics.get(review.id) == review


async def test_who_may_stay_away_may_be_busy_with_another_review(ics):
    await book(ics, "tok1", attendees=[GRACE])
    await book(ics, "tok2", attendees=[PRAGUE], optional=[GRACE])
    assert await busy(ics, GRACE) == [(at(9), at(10)), (at(9), at(10))]


async def test_a_moved_review_is_a_request_with_the_next_sequence_and_asks_everybody_again(ics, connection):
    await book(ics, title="Review", attendees=[PRAGUE, GRACE], description="See the report")
    path = next((connection.folder / "reviews").iterdir())
    path.write_bytes(path.read_bytes().replace(b"PARTSTAT=NEEDS-ACTION", b"PARTSTAT=ACCEPTED"))
    review = await move(ics)
    calendar = invitation(connection)
    (meeting,) = calendar.events
    assert (str(calendar["METHOD"]), str(meeting["STATUS"]), meeting["SEQUENCE"]) == ("REQUEST", "CONFIRMED", 1)
    assert (str(meeting["UID"]), str(meeting["DESCRIPTION"])) == ("tok1@hotwash", "See the report")
    assert meeting["DTSTAMP"].dt == late("tok9").at
    assert [address.params["PARTSTAT"] for address in meeting["ATTENDEE"]] == ["NEEDS-ACTION"] * 2
    assert (review.id, review.start, review.end, review.url) == ("reviews:tok1", at(13), at(14), path.as_uri())
    assert await busy(ics) == [(at(13), at(14))]


async def test_a_moved_review_brings_the_zone_of_its_new_time_and_no_other(ics, connection):
    await book(ics)
    await move(ics, timezone="Europe/Prague", start=datetime(2027, 7, 1, 8, tzinfo=UTC))
    calendar = invitation(connection)
    assert [zone["TZID"] for zone in calendar.timezones] == ["Europe/Prague"]
    assert calendar.events[0]["DTSTART"].to_ical() == b"20270701T100000"
    assert (await ics.get("reviews:tok1")).start == datetime(2027, 7, 1, 8, tzinfo=UTC)


async def test_moving_again_under_the_same_effect_gives_the_review_as_it_is(ics, connection):
    await book(ics)
    first = await move(ics)
    content = next((connection.folder / "reviews").iterdir()).read_bytes()
    assert await move(ics, start=at(15)) == first
    assert [path.read_bytes() for path in (connection.folder / "reviews").iterdir()] == [content]
    assert await ics.find(an_effect("tok9")) == first
    assert (await move(ics, "tok10", start=at(15))).start == at(15)
    assert (await ics.find(an_effect("tok9"))).start == at(15)


async def test_moving_says_that_the_review_is_scheduled_for_its_new_time(ics):
    await book(ics)
    effect = late("tok9")
    await ics.reschedule("reviews:tok1", at(13), at(14), timezone="UTC", effect=effect)
    ((name, fact),) = effect.emitted
    assert (name, fact.type, fact.subject, fact.fields["start"]) == (
        "reviews",
        "review.scheduled",
        "reviews:tok1",
        at(13),
    )


async def test_a_review_is_not_moved_over_another_and_does_not_stand_in_its_own_way(ics):
    await book(ics, "tok1", start=at(9))
    await book(ics, "tok2", start=at(13))
    with pytest.raises(RetryLater, match="another review was booked for this time"):
        await move(ics)
    assert (await move(ics, start=at(9, 30))).start == at(9, 30)


async def test_the_review_that_is_to_be_moved_makes_nobody_busy(ics, connection):
    review = await book(ics)
    copy = next((connection.folder / "reviews").iterdir()).read_text()
    (connection.folder / "calendars").mkdir()
    (connection.folder / "calendars" / "ada.ics").write_text(copy)
    assert await busy(ics) == [(at(9), at(10))] * 2
    assert await ics.busy([PRAGUE], START, END, without=review.id) == {"ada": []}


async def test_a_cancelled_review_is_a_cancellation_with_the_next_sequence_and_the_reason(ics, connection):
    await book(ics, attendees=[PRAGUE, GRACE])
    effect = late("tok9")
    review = await ics.cancel("reviews:tok1", reason="Reopened: see [it](https://x.example)", effect=effect)
    calendar = invitation(connection)
    (meeting,) = calendar.events
    assert (str(calendar["METHOD"]), str(meeting["STATUS"]), meeting["SEQUENCE"]) == ("CANCEL", "CANCELLED", 1)
    assert str(meeting["COMMENT"]) == "Reopened: see it (https://x.example)"
    assert len(meeting["ATTENDEE"]) == 2
    assert not any("RSVP" in address.params for address in meeting["ATTENDEE"])
    assert (review.cancelled, review.start) == (True, at(9))
    assert [(fact.type, fact.fields["cancelled"]) for _, fact in effect.emitted] == [("review.updated", True)]
    assert await busy(ics) is None


async def test_a_cancelled_review_stays_cancelled_and_its_file_as_it_is(ics, connection):
    await book(ics)
    await ics.cancel("reviews:tok1", reason="First", effect=late("tok8"))
    content = next((connection.folder / "reviews").iterdir()).read_bytes()
    await ics.cancel("reviews:tok1", reason="Second", effect=late("tok9"))
    assert next((connection.folder / "reviews").iterdir()).read_bytes() == content


async def test_a_cancelled_review_that_is_moved_is_on_again(ics, connection):
    await book(ics)
    await ics.cancel("reviews:tok1", reason="Reopened", effect=late("tok8"))
    review = await move(ics)
    (meeting,) = invitation(connection).events
    assert (review.cancelled, str(meeting["STATUS"]), meeting["SEQUENCE"]) == (False, "CONFIRMED", 2)
    assert "COMMENT" not in meeting


@pytest.mark.parametrize("name", ["reviews:gone", "../tok1", "*", "reviews:", "tok[1]"])
async def test_a_review_that_is_not_there_is_a_clear_problem(ics, name):
    await book(ics)
    assert await ics.get(name) is None
    for work in (move(ics, review=name), ics.cancel(name, reason=None, effect=an_effect())):
        with pytest.raises(ActionError, match=r"there is no review '.*' in 'reviews'"):
            await work


async def test_moving_is_declared_native_and_calling_off_idempotent():
    assert effect_class(Ics.cls.reschedule) is EffectClass.NATIVE
    assert effect_class(Ics.cls.cancel) is EffectClass.IDEMPOTENT


async def test_a_review_moves_to_where_its_attendees_are_free_of_all_but_itself(ics, connection):
    keep(connection, "ada.ics", event("DTSTART:20260302T100000Z", "DTEND:20260302T110000Z"))
    await book(ics, start=at(9, 30))
    ctx = FakeContext(effect=late("tok9"), calendar=ics, people=connection.people)
    review = await reschedule.function(RescheduleReview(review="reviews:tok1"), ctx)
    again = await reschedule.function(RescheduleReview(review="reviews:tok1"), ctx)
    assert [one.start for one in (review, again)] == [at(11)] * 2


async def test_a_private_review_is_of_the_class_private(ics, connection):
    await book(ics, private=True)
    (meeting,) = invitation(connection).events
    assert str(meeting["CLASS"]) == "PRIVATE"


async def test_what_guests_answered_is_read_from_the_invitation_until_it_is_moved(ics, connection):
    made = await book(ics, attendees=[PRAGUE, GRACE])
    path = next((connection.folder / "reviews").iterdir())
    text = path.read_bytes().replace(b"PARTSTAT=NEEDS-ACTION", b"PARTSTAT=ACCEPTED", 1)
    path.write_bytes(text.replace(b"PARTSTAT=NEEDS-ACTION", b"PARTSTAT=DECLINED"))
    review = await ics.get(made.id)
    assert [[person.id for person in people] for people in (review.accepted, review.declined)] == [["ada"], ["grace"]]
    moved = await move(ics)
    assert (moved.accepted, moved.declined) == ((), ())
