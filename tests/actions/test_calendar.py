from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from actions.calendar import CancelReview, RescheduleReview, ScheduleReview, cancel, reschedule, schedule
from engine.calendars import WEEKDAYS_9_TO_5, Calendar, build_calendar, default_calendar, open_intervals
from engine.capabilities import Interval
from engine.domain import Incident, Person, Review
from engine.plugins import ActionError
from tests.fakes import ADA, GRACE, MONDAY, FakeContext, FakePeople, an_effect

OWNER = Person("edsger", "Edsger", known=True)
STRANGER = Person("pager:P1", "Alan *Turner*")


class FakeCalendar:
    """People's calendars in memory; None for those it does not hold."""

    def __init__(self, reviews=(), **busy):
        self.taken = busy
        self.reviews = {review.id: review for review in reviews}
        self.created, self.moves, self.cancelled = [], [], []
        self.asked_without = None
        self.unreached = ()

    async def busy(self, people, start, end, *, without=None):
        self.asked_without = without
        return {person.id: self.taken.get(person.id) for person in people}

    async def create(self, title, start, end, **more):
        self.created.append((title, start, end, more))
        review = Review(f"ics:{more['effect'].token}", title, start, end, attendees=tuple(more["attendees"]))
        return replace(review, left_out=tuple(self.unreached))

    async def reschedule(self, review, start, end, *, timezone, effect):
        self.moves.append(review)
        return replace(self.reviews[review], start=start, end=end, cancelled=False)

    async def cancel(self, review, *, reason, effect):
        self.cancelled.append((review, reason))
        return replace(self.reviews[review], cancelled=True)

    async def get(self, review):
        return self.reviews.get(review)


async def answer(value):
    return value


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


# --- who may stay away


async def test_an_optional_attendee_never_stands_in_the_way():
    calendar = FakeCalendar(ada=[], grace=busy((at(9), at(17))), edsger=[])
    review = await booked(desk(calendar), ADA, optional=[GRACE, OWNER], within="6h")
    more = calendar.created[0][3]
    assert (review.start, more["attendees"], more["optional"]) == (at(9, 15), [ADA], [GRACE, OWNER])
    assert review.reason == (
        "first 45 minutes within 6h when Ada Example is free in their own hours; "
        "Edsger, who may stay away, can come; Grace Example, who may stay away, cannot come"
    )


async def test_of_the_slots_that_suit_all_the_earliest_that_suits_most_who_may_stay_away_is_taken():
    calendar = FakeCalendar(ada=[], grace=busy((at(9), at(11))), edsger=busy((at(9), at(10)), (at(13), at(17))))
    review = await booked(desk(calendar), ADA, optional=[GRACE, OWNER], within="1d")
    assert review.start == at(11)
    assert "; Mon 2 Mar 09:15 UTC: fewer of those who may stay away can come; " in review.reason


async def test_who_must_come_and_may_stay_away_must_come():
    calendar = FakeCalendar(ada=[], grace=[])
    await booked(desk(calendar), ADA, optional=[ADA, GRACE])
    more = calendar.created[0][3]
    assert (more["attendees"], more["optional"]) == ([ADA], [GRACE])


async def test_who_may_stay_away_and_cannot_be_reached_is_left_out():
    calendar = FakeCalendar(ada=[])
    review = await booked(desk(calendar), ADA, optional=[STRANGER])
    assert (review.left_out, calendar.created[0][3]["optional"]) == ((STRANGER,), [])


async def test_the_owner_must_come_where_only_those_are_left_who_may_stay_away():
    calendar = FakeCalendar(grace=[], edsger=[])
    await booked(desk(calendar, owner=OWNER), STRANGER, optional=[GRACE, OWNER])
    more = calendar.created[0][3]
    assert (more["attendees"], more["optional"]) == ([OWNER], [GRACE])


PEOPLE = [Person(f"p{number}", f"P{number}", known=True) for number in range(4)]
ZONES = ("UTC", "Europe/Prague", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
stretches = st.lists(
    st.tuples(st.integers(0, 7 * 24 * 12), st.integers(1, 200)).map(
        lambda one: Interval(MONDAY + one[0] * timedelta(minutes=5), MONDAY + sum(one) * timedelta(minutes=5))
    ),
    max_size=8,
)


def fits(person, slot, hours, taken):
    working = open_intervals(hours[person.id], slot[0] - timedelta(days=2), slot[1] + timedelta(days=2))
    inside = any(start <= slot[0] and slot[1] <= end for start, end in working)
    return inside and not any(one.start < slot[1] and slot[0] < one.end for one in taken[person.id])


def best_of_all(required, optional, length, hours, taken):
    """Look at every quarter of an hour: the most who may stay away, then the earliest."""
    starts = [MONDAY + n * timedelta(minutes=15) for n in range(1, 5 * 24 * 4)]
    slots = [(start, start + length) for start in starts if start + length <= MONDAY + timedelta(days=5)]
    good = [slot for slot in slots if all(fits(person, slot, hours, taken) for person in required)]
    return max(good, key=lambda slot: sum(fits(one, slot, hours, taken) for one in optional), default=None)


@settings(deadline=None, max_examples=60)
@given(
    zones=st.lists(st.sampled_from(ZONES), min_size=4, max_size=4),
    taken=st.lists(stretches, min_size=4, max_size=4),
    must=st.integers(1, 4),
    quarters=st.integers(1, 12),
)
async def test_a_slot_is_the_best_of_all_and_never_outside_hours_or_over_a_busy_time(zones, taken, must, quarters):
    hours = {person.id: default_calendar(zone) for person, zone in zip(PEOPLE, zones, strict=True)}
    busy = {person.id: found for person, found in zip(PEOPLE, taken, strict=True)}
    calendar = FakeCalendar(**busy)
    people = FakePeople(PEOPLE)
    length = quarters * timedelta(minutes=15)
    optional = PEOPLE[must:]
    expected = best_of_all(PEOPLE[:must], optional, length, hours, busy)
    wanted = {"optional": optional, "duration": f"{quarters * 15}m", "within": "5d"}
    try:
        review = await booked(desk(calendar, hours=hours, people=people), *PEOPLE[:must], **wanted)
    except ActionError:
        assert expected is None
    else:
        assert (review.start, review.end) == expected
        assert all(fits(person, (review.start, review.end), hours, busy) for person in PEOPLE[:must])


# --- moving


BOOKED = Review("ics:tok0", "Review", at(10), at(11), attendees=(ADA, GRACE), optional=(GRACE,))


async def moved(ctx, **inputs):
    return await reschedule.function(RescheduleReview(**{"review": "ics:tok0", **inputs}), ctx)


async def test_a_review_is_moved_to_the_first_other_time_that_suits_as_long_as_it_was():
    calendar = FakeCalendar(ada=busy((at(9), at(10))), grace=[], reviews=[BOOKED])
    review = await moved(desk(calendar))
    assert (review.start, review.end) == (at(11), at(12))
    assert calendar.asked_without == "ics:tok0"
    assert review.reason == (
        "first 1 hour within 5bd when Ada Example is free in their own hours; Mon 2 Mar 09:15 UTC: Ada Example is busy "
        "until 10:00 and this overlaps the time it had; Grace Example, who may stay away, can come"
    )


async def test_a_review_of_the_past_and_one_that_was_called_off_are_booked_again():
    past = replace(BOOKED, start=at(10, day=1), end=at(10, 30, day=1))
    assert (await moved(desk(FakeCalendar(ada=[], reviews=[past])))).start == at(9, 15)
    off = replace(BOOKED, cancelled=True)
    review = await moved(desk(FakeCalendar(ada=busy((at(9), at(10))), reviews=[off])))
    assert (review.start, review.cancelled) == (at(10), False)


async def test_a_review_may_get_another_length_and_an_earliest_start():
    review = await moved(desk(FakeCalendar(reviews=[BOOKED])), duration="30m", not_before="1d")
    assert (review.start, review.end) == (at(9, day=3), at(9, 30, day=3))


async def test_where_no_other_time_suits_the_review_stays_and_the_step_says_why():
    calendar = FakeCalendar(ada=busy((at(9), at(10)), (at(11), at(17))), reviews=[BOOKED])
    with pytest.raises(ActionError, match="at no other time than the one it has is Ada Example free"):
        await moved(desk(calendar), within="6h")
    assert calendar.moves == []


async def test_a_repeated_attempt_does_not_move_a_review_once_more():
    calendar = FakeCalendar(reviews=[BOOKED])
    calendar.find = lambda effect: answer(replace(BOOKED, start=at(13), end=at(14)))
    review = await moved(desk(calendar))
    assert (review.start, calendar.moves) == (at(13), [])
    assert review.reason == "moved by an earlier attempt of this step"


async def test_the_review_that_a_run_is_about_needs_no_name():
    calendar = FakeCalendar(reviews=[BOOKED])
    about = an_effect(subject_type="review", subject="ics:tok0")
    await reschedule.function(RescheduleReview(), desk(calendar, effect=about))
    await cancel.function(CancelReview(reason="Not needed."), desk(calendar, effect=about))
    assert (calendar.moves, calendar.cancelled) == (["ics:tok0"], [("ics:tok0", "Not needed.")])


@pytest.mark.parametrize("action", [(reschedule, RescheduleReview), (cancel, CancelReview)])
async def test_a_run_about_something_else_has_to_name_the_review(action):
    with pytest.raises(ActionError, match="the run is about no review: name one with 'review'"):
        await action[0].function(action[1](), desk(FakeCalendar()))


async def test_a_review_that_the_calendar_does_not_have_is_an_error():
    with pytest.raises(ActionError, match="the calendar has no review 'ics:gone'"):
        await moved(desk(FakeCalendar()), review="ics:gone")


async def test_a_review_is_called_off_by_its_record():
    calendar = FakeCalendar(reviews=[BOOKED])
    await cancel.function(CancelReview(review=BOOKED), desk(calendar))
    assert calendar.cancelled == [("ics:tok0", None)]


async def test_the_review_of_a_private_incident_is_private():
    for private in (True, False):
        calendar = FakeCalendar(ada=[])
        incident = Incident("pager:P1", "P1", "Theft", private=private)
        await booked(desk(calendar, incident=incident), ADA)
        assert calendar.created[0][3]["private"] is private


async def test_whom_the_calendar_could_not_invite_is_left_out_beside_whom_nobody_knows():
    calendar = FakeCalendar(ada=[])
    calendar.unreached = [GRACE]
    stranger = Person("slack:U1", "Stranger")
    assert (await booked(desk(calendar), ADA, GRACE, stranger)).left_out == (stranger, GRACE)
