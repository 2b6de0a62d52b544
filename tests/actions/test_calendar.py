from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from actions.calendar import ScheduleReview, schedule
from engine.calendars import WEEKDAYS_9_TO_5, Calendar, build_calendar, default_calendar
from engine.capabilities import Interval
from engine.domain import Incident, Person, Review
from engine.plugins import ActionError
from tests.fakes import ADA, GRACE, MONDAY, FakeContext, an_effect

OWNER = Person("edsger", "Edsger", known=True)
STRANGER = Person("pager:P1", "Alan *Turner*")


class FakeCalendar:
    """People's calendars in memory; None for those it does not hold."""

    def __init__(self, **busy):
        self.taken = busy
        self.created = []

    async def busy(self, people, start, end):
        return {person.id: self.taken.get(person.id) for person in people}

    async def create(self, title, start, end, **more):
        self.created.append((title, start, end, more))
        return Review(f"ics:{more['effect'].token}", title, start, end, attendees=tuple(more["attendees"]))


@dataclass
class Desk(FakeContext):
    """A context in which people have hours of their own."""

    hours: dict[str, Calendar] = field(default_factory=dict)

    def hours_of(self, person):
        return self.hours.get(person.id if person else "", WEEKDAYS_9_TO_5)


def at(hour, minute=0, day=2):
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def busy(*stretches):
    return [Interval(start, end) for start, end in stretches]


def desk(calendar, **more):
    return Desk(calendar=calendar, **more)


async def booked(ctx, *people, **more):
    return await schedule.function(ScheduleReview(title="Review", attendees=list(people), **more), ctx)


async def test_the_first_slot_that_suits_everybody_is_booked():
    calendar = FakeCalendar(ada=[], grace=busy((at(9), at(11))))
    review = await booked(desk(calendar), ADA, GRACE, duration="45m", within="5bd")
    assert (review.start, review.end) == (at(11), at(11, 45))
    assert calendar.created[0][3]["attendees"] == [ADA, GRACE]


async def test_the_reason_says_why_that_slot():
    calendar = FakeCalendar(ada=[], grace=busy((at(9), at(11))))
    review = await booked(desk(calendar, zone="Europe/Prague"), ADA, GRACE)
    assert review.reason == (
        "first 45 minutes within 5bd when Ada Example and Grace Example are free in their own hours; "
        "Mon 2 Mar 10:15 CET: Grace Example is busy until 12:00"
    )


async def test_a_slot_lies_in_everybodys_own_hours_and_zone():
    hours = {"ada": default_calendar("Europe/Prague"), "grace": default_calendar("America/New_York")}
    review = await booked(desk(FakeCalendar(ada=[], grace=[]), hours=hours), ADA, GRACE, duration="1h")
    assert review.start == at(14)
    assert "Mon 2 Mar 09:15 UTC: Grace Example is not at work until 14:00" in review.reason


async def test_a_start_at_which_nobody_works_is_not_told_of():
    review = await booked(desk(FakeCalendar(ada=[], grace=[]), now=at(3)), ADA, GRACE)
    assert review.start == at(9)
    assert review.reason.endswith("own hours")


async def test_a_slot_begins_in_the_future():
    review = await booked(desk(FakeCalendar(ada=[])), ADA)
    assert MONDAY < review.start == at(9, 15)


@pytest.mark.parametrize("early", [at(13, 10), "4h10m", "2026-03-02T14:10:00+01:00"])
async def test_no_slot_begins_before_the_earliest_start(early):
    review = await booked(desk(FakeCalendar(ada=[])), ADA, not_before=early)
    assert review.start == at(13, 15)


async def test_working_days_of_within_are_counted_by_the_projects_calendar():
    closed = build_calendar("office", "UTC", {"mon, fri": "09:00-17:00"})
    calendar = FakeCalendar(ada=busy((at(9), at(17)), (at(9, day=6), at(17, day=6))))
    with pytest.raises(ActionError, match=r"until Fri 6 Mar 09:00 UTC"):
        await booked(desk(calendar, hours={"": closed, "ada": closed}), ADA, within="1bd")


async def test_no_slot_is_an_error_that_names_who_stands_against_it():
    weekend = build_calendar("weekend", "UTC", {"sat": "09:00-17:00"})
    split = build_calendar("split", "UTC", {"mon": "09:00-09:30, 10:00-10:30"})
    people = [ADA, GRACE, OWNER]
    calendar = FakeCalendar(ada=busy((at(8), at(18))), grace=[], edsger=[])
    with pytest.raises(ActionError) as caught:
        await booked(desk(calendar, hours={"grace": weekend, "edsger": split}), *people, within="1d")
    assert str(caught.value) == (
        "no 45 minutes within 1d (until Tue 3 Mar 09:00 UTC) suit everybody: "
        "Ada Example is busy in all of their working hours; Grace Example has no working hours in this time; "
        "Edsger has no stretch of working hours that is long enough"
    )
    assert calendar.created == []


async def test_hours_that_never_meet_are_said_to_be_the_reason():
    hours = {"ada": default_calendar("Asia/Tokyo"), "grace": default_calendar("America/New_York")}
    with pytest.raises(ActionError, match="are free at times, but never all at once"):
        await booked(desk(FakeCalendar(ada=[], grace=[]), hours=hours), ADA, GRACE)


async def test_who_cannot_be_reached_is_left_out_and_named_in_the_description():
    calendar = FakeCalendar(ada=[])
    review = await booked(desk(calendar), ADA, STRANGER, description="The report")
    assert review.left_out == (STRANGER,)
    assert calendar.created[0][3]["attendees"] == [ADA]
    assert calendar.created[0][3]["description"] == (
        "The report\n\nNot invited, because neither a roster entry nor an e-mail address is known: Alan \\*Turner\\*."
    )


async def test_somebody_without_a_calendar_is_invited_by_mail_and_the_reason_says_so():
    guest = Person("pager:P2", "Barbara", email="barbara@example.com")
    review = await booked(desk(FakeCalendar(ada=[])), ADA, guest, OWNER)
    assert review.attendees == (ADA, guest, OWNER)
    assert review.reason.endswith("no calendar of Barbara and Edsger was found: only the working hours were looked at")


async def test_the_owner_is_invited_when_nobody_is_left():
    calendar = FakeCalendar(edsger=busy((at(9), at(12))))
    review = await booked(desk(calendar, owner=OWNER), STRANGER)
    assert review.attendees == (OWNER,)
    assert (review.start, review.left_out) == (at(12), (STRANGER,))
    assert "Edsger is invited as the owner of the workflow." in calendar.created[0][3]["description"]


@pytest.mark.parametrize(("people", "why"), [([], "there are no attendees"), ([STRANGER], "cannot be reached")])
async def test_nobody_at_all_is_an_error(people, why):
    with pytest.raises(ActionError, match=f"nobody can be invited: .*{why}, and the workflow has no owner"):
        await booked(desk(FakeCalendar()), *people)


async def test_everybody_is_invited_once():
    again = Person("pager:P3", "A. Example", email="ADA@example.com")
    review = await booked(desk(FakeCalendar(ada=[])), ADA, again, ADA)
    assert review.attendees == (ADA,)


async def test_a_vendors_person_is_joined_with_the_roster():
    review = await booked(desk(FakeCalendar(ada=[])), Person("pager:P4", "Ada", email="ada@example.com"))
    assert review.attendees == (ADA,)


async def test_the_review_carries_the_incident_the_zone_and_the_effect():
    calendar, effect = FakeCalendar(ada=[]), an_effect("tok9")
    incident = Incident("pager:I1", "INC-1", "Checkout is slow")
    await booked(desk(calendar, effect=effect, incident=incident, zone="Asia/Tokyo"), ADA)
    more = calendar.created[0][3]
    assert (more["incident"], more["timezone"], more["effect"]) == ("pager:I1", "Asia/Tokyo", effect)


async def test_a_repeated_attempt_gives_the_review_that_was_booked():
    calendar = FakeCalendar(ada=busy((at(9), at(17))))
    first = Review("ics:tok1", "Review", at(10), at(11), attendees=(ADA,))

    async def find(effect):
        return replace(first, id=f"ics:{effect.token}")

    calendar.find = find
    review = await booked(desk(calendar), ADA, STRANGER, within="1h")
    assert (review.id, review.start, review.left_out) == ("ics:tok1", at(10), (STRANGER,))
    assert calendar.created == []


async def test_the_same_inputs_give_the_same_slot():
    slots = {(await booked(desk(FakeCalendar(ada=busy((at(9), at(10))))), ADA, GRACE)).start for _ in range(3)}
    assert slots == {at(10)}


async def test_only_the_first_starts_that_did_not_suit_are_told_of():
    ada = busy(*((at(hour), at(hour + 1)) for hour in (9, 11, 13, 15)))
    grace = busy(*((at(hour), at(hour + 1)) for hour in (10, 12, 14)))
    review = await booked(desk(FakeCalendar(ada=ada, grace=grace)), ADA, GRACE, duration="1h")
    assert review.start == at(16)
    assert review.reason.count(" UTC: ") == 3
    assert review.reason.endswith("3 later starts did not suit")


async def test_free_time_that_is_too_short_is_said_to_be():
    taken = busy((at(9), at(9, 45)), (at(10), at(16, 30)))
    review = await booked(desk(FakeCalendar(ada=taken)), ADA)
    assert review.start == at(9, day=3)
    assert "Mon 2 Mar 09:15 UTC: Ada Example is busy until 09:45 and has no 45 minutes free before Tue 3 Mar" in (
        review.reason
    )


async def test_many_names_are_cut():
    people = [replace(ADA, id=f"p{n}", email=None, name=f"P{n}") for n in range(6)]
    review = await booked(desk(FakeCalendar(**{person.id: [] for person in people})), *people)
    assert "when P0, P1, P2 and 3 others are free" in review.reason


@pytest.mark.parametrize("length", ["3bd", "P1M", "25h", "0s"])
def test_a_meeting_has_a_length_of_at_most_a_day(length):
    with pytest.raises(ValidationError, match="must be the length of a meeting"):
        ScheduleReview(title="Review", attendees=[], duration=length)


async def test_an_earliest_start_after_the_end_is_an_error_that_names_both():
    with pytest.raises(ActionError, match=r"earliest start, Tue 3 Mar 09:00 UTC, and the end of 'within', Mon 2 Mar"):
        await booked(desk(FakeCalendar(ada=[])), ADA, within="2h", not_before="1d")


@pytest.mark.parametrize(("within", "why"), [("500d", "may reach a year ahead"), ("99999bd", "at most 10000 working")])
async def test_a_search_without_bounds_is_refused(within, why):
    with pytest.raises(ActionError, match=why):
        await booked(desk(FakeCalendar(ada=[])), ADA, within=within)


async def test_an_hour_and_a_half_is_said_as_people_say_it():
    review = await booked(desk(FakeCalendar(ada=[])), ADA, duration="90m")
    assert review.reason.startswith("first 1 hour 30 minutes within 5bd when Ada Example is free in their own hours")
