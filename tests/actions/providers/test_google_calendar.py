"""Reviews as events of a Google calendar, against a calendar of ours that keeps state."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from actions.providers.google_calendar import GoogleCalendarOptions, GoogleCalendarProvider
from actions.providers.google_events import event_id
from engine.capabilities import Interval
from engine.domain import Person
from engine.plugins import ActionError, ConnectionBroken, RetryLater
from tests.fakes import ADA, GRACE, MONDAY, FakeConnection, FakePeople, an_effect
from tests.google_calendar_stand_in import SELF, Fault, StandIn
from tests.google_credentials import service_account

HOUR = timedelta(hours=1)
LINUS = Person("linus", "Linus", email="linus@example.com", known=True)
NOBODY = Person("nobody", "Nobody", known=True)


@pytest.fixture
async def google(connection):
    one = await StandIn(connection.clock.now).start()
    one.busy |= {"ada@example.com": [], "grace@example.com": [], "linus@example.com": []}
    yield one
    await one.stop()


@pytest.fixture
def connection():
    return FakeConnection(Path(), "work", people=FakePeople([ADA, GRACE, LINUS]))


@pytest.fixture
async def calendar(google, connection):
    made = []

    def make(**more):
        key = service_account(f"{google.address}/token")
        options = GoogleCalendarOptions(**{"credentials": key, "subject": SELF, "api": google.address} | more)
        made.append(GoogleCalendarProvider.build(options, connection))
        return made[-1]

    make.default = make()
    yield make
    for one in made:
        await one.aclose()


@pytest.fixture
def work(calendar):
    return calendar.default


async def booked(work, effect=None, start=MONDAY, optional=(), attendees=(ADA, GRACE), **more):
    inputs = {"description": "See [the report](https://x.example).", "timezone": "Europe/Prague", "incident": "p:P1"}
    return await work.create(
        "Review:  of\nP1",
        start,
        start + HOUR,
        attendees=attendees,
        optional=optional,
        effect=effect or an_effect(),
        **inputs | more,
    )


def only(google):
    (event,) = google.events.values()
    return event


# --- who is busy -----------------------------------------------------------------------------------------------------


async def test_everybody_is_asked_for_in_one_query_and_who_cannot_be_seen_is_none(work, google):
    google.busy["ada@example.com"] = [(MONDAY - HOUR, MONDAY + HOUR)]
    del google.busy["linus@example.com"]
    busy = await work.busy([ADA, GRACE, LINUS, NOBODY], MONDAY, MONDAY + 8 * HOUR)
    assert busy == {"ada": [Interval(MONDAY, MONDAY + HOUR)], "grace": [], "linus": None, "nobody": None}
    assert google.requests == ["freebusy"]


async def test_more_people_than_one_query_takes_are_asked_for_in_several(work, google):
    people = [Person(f"p{number}", "P", email=f"p{number}@example.com") for number in range(120)]
    google.busy |= {person.email: [(MONDAY, MONDAY + HOUR)] for person in people}
    busy = await work.busy(people, MONDAY, MONDAY + 2 * HOUR)
    assert all(times == [Interval(MONDAY, MONDAY + HOUR)] for times in busy.values())
    assert google.requests == ["freebusy"] * 3


async def test_a_long_time_is_asked_for_in_stretches(work, google):
    google.busy["ada@example.com"] = [(MONDAY + timedelta(days=59), MONDAY + timedelta(days=61))]
    busy = await work.busy([ADA], MONDAY, MONDAY + timedelta(days=100))
    assert google.requests == ["freebusy"] * 2
    assert [one.end - one.start for one in busy["ada"]] == [timedelta(days=1)] * 2


async def test_a_calendar_of_their_own_is_looked_into_where_the_roster_names_one(work, google):
    google.busy["ada@home.example"] = [(MONDAY, MONDAY + HOUR)]
    ada = replace(ADA, calendar="ada@home.example")
    assert (await work.busy([ada], MONDAY, MONDAY + HOUR))["ada"] == [Interval(MONDAY, MONDAY + HOUR)]


async def test_the_time_of_a_review_that_is_about_to_be_moved_does_not_count(work, google):
    review = await booked(work)
    google.busy["ada@example.com"] = [(MONDAY + HOUR, MONDAY + 2 * HOUR)]
    busy = await work.busy([ADA, GRACE], MONDAY, MONDAY + 3 * HOUR, without=review.id)
    assert busy == {"ada": [Interval(MONDAY + HOUR, MONDAY + 2 * HOUR)], "grace": []}


# --- booking ---------------------------------------------------------------------------------------------------------


async def test_a_review_is_an_event_with_guests_a_meet_link_and_our_marks(work, google):
    review = await booked(work, optional=[LINUS])
    event = only(google)
    assert (event["id"], event["summary"]) == (event_id("tok1"), "Review: of P1")
    assert event["description"] == '<p>See <a href="https://x.example">the report</a>.</p>'
    assert event["start"] == {"dateTime": "2026-03-02T10:00:00+01:00", "timeZone": "Europe/Prague"}
    assert [(guest["email"], guest["optional"]) for guest in event["attendees"]] == [
        ("ada@example.com", False),
        ("grace@example.com", False),
        ("linus@example.com", True),
    ]
    assert (review.id, review.start, review.end) == (f"work:{event['id']}", MONDAY, MONDAY + HOUR)
    assert (review.attendees, review.optional, review.incident) == ((ADA, GRACE, LINUS), (LINUS,), "p:P1")
    assert (review.video_url, review.url) == ("https://meet.example/tok1", event["htmlLink"])
    assert {to for _, _, to in google.mail} == {"ada@example.com", "grace@example.com", "linus@example.com"}


async def test_what_comes_from_outside_stays_text(work, google):
    await booked(work, description="<img src=x onerror=alert(1)> [click](javascript:alert(1))")
    assert "<img" not in only(google)["description"]
    assert "href" not in only(google)["description"]


async def test_a_review_of_a_private_incident_shows_others_only_that_somebody_is_busy(work, google):
    await booked(work, private=True)
    await booked(work, an_effect("tok2"), start=MONDAY + HOUR)
    assert [event.get("visibility") for event in google.events.values()] == ["private", None]


async def test_nobody_gets_mail_where_that_is_not_wanted_and_no_meet_link(calendar, google):
    review = await booked(calendar(notify="none", meet=False))
    assert (google.mail, review.video_url, "conferenceData" in only(google)) == ([], None, False)


async def test_reminders_are_those_that_are_set(calendar, google):
    await booked(calendar(reminders={"email": "1d", "popup": "10m"}))
    overrides = [{"method": "email", "minutes": 1440}, {"method": "popup", "minutes": 10}]
    assert only(google)["reminders"] == {"useDefault": False, "overrides": overrides}


@pytest.mark.parametrize("before", ["29d", "3bd"])
def test_a_reminder_that_google_does_not_take_is_refused(before):
    with pytest.raises(ValidationError, match="must come at most 28d before, 'email' is"):
        GoogleCalendarOptions(credentials=service_account("http://127.0.0.1:1"), reminders={"email": before})


async def test_who_has_no_address_is_left_out_and_where_nobody_has_one_nothing_is_booked(work, google):
    assert (await booked(work, attendees=[ADA, NOBODY])).left_out == (NOBODY,)
    with pytest.raises(ActionError, match="none of them has an e-mail address"):
        await booked(work, an_effect("tok2"), attendees=[NOBODY])
    assert len(google.events) == 1


async def test_a_meet_link_that_is_not_ready_yet_comes_later(work, google):
    google.pending_meet = True
    assert (await booked(work)).video_url is None
    only(google)["conferenceData"]["entryPoints"] = [{"entryPointType": "video", "uri": "https://meet.example/late"}]
    assert (await work.get(f"work:{event_id('tok1')}")).video_url == "https://meet.example/late"


async def test_booked_again_by_the_same_effect_it_is_the_same_review(work, google):
    first = await booked(work)
    google.events[event_id("tok1")]["attendees"][0]["responseStatus"] = "declined"
    google.events[event_id("tok1")]["attendees"][1]["responseStatus"] = "declined"
    again = await booked(work)
    assert (again.id, again.start, len(google.events)) == (first.id, first.start, 1)
    assert google.requests.count("insert") == 2  # the second one was refused: 409


async def test_a_review_that_was_deleted_since_is_not_booked_again_by_its_effect(work, google):
    await booked(work)
    google.deletes(event_id("tok1"))
    again = await booked(work)
    assert (again.cancelled, only(google)["status"]) == (True, "cancelled")
    assert (await work.find(an_effect())).cancelled


async def test_an_event_of_somebody_elses_with_our_id_is_not_taken_for_ours(work, google):
    google.other_event(event_id("tok1"))
    with pytest.raises(ActionError, match="another event with the id"):
        await booked(work)


async def test_an_answer_that_is_lost_leaves_one_review_that_is_found(work, google):
    google.faults.append(Fault("insert", lost=True))
    with pytest.raises(RetryLater) as told:
        await booked(work)
    assert told.value.maybe_done is True
    found = await work.find(an_effect())
    assert (found.id, found.start, len(google.events)) == (f"work:{event_id('tok1')}", MONDAY, 1)


async def test_what_was_not_booked_is_not_found(work, google):
    google.faults.append(Fault("insert", 503, "backendError"))
    with pytest.raises(RetryLater):
        await booked(work)
    assert await work.find(an_effect()) is None


async def test_of_two_that_want_the_same_time_at_once_one_looks_again(work, google):
    both_looked = asyncio.Event()
    google.faults.append(Fault("freebusy", late=both_looked))  # the first one knows already that everybody is free
    tasks = [asyncio.create_task(booked(work, an_effect(token))) for token in ("tok1", "tok2")]
    await asyncio.wait(tasks[1:], timeout=0.2)
    both_looked.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one).__name__ for one in done] == ["Review", "RetryLater"]
    assert len(google.events) == 1


# --- moving and calling off ------------------------------------------------------------------------------------------


async def test_a_moved_review_asks_everybody_again_and_remembers_who_moved_it(work, google):
    review = await booked(work)
    google.answers("ada@example.com", "accepted")
    google.answers("grace@example.com", "declined")
    effect = an_effect("move", inputs={"review": review.id})
    assert await work.find(effect) is None
    moved = await work.reschedule(review.id, MONDAY + 2 * HOUR, MONDAY + 3 * HOUR, timezone="UTC", effect=effect)
    assert (moved.start, moved.accepted, moved.declined) == (MONDAY + 2 * HOUR, (), ())
    assert (moved.incident, moved.title) == ("p:P1", "Review: of P1")
    assert await work.find(effect) == moved
    assert await work.find(replace(effect, inputs={"review": moved})) == moved
    assert await work.find(replace(effect, inputs={}, subject_type="review", subject=review.id)) == moved


async def test_a_review_that_somebody_changes_at_the_same_time_is_read_again(work, google):
    review = await booked(work)
    read = work._events.get

    async def and_then_somebody_answers(id):
        event = await read(id)
        google.answers("ada@example.com", "declined")
        return event

    work._events.get = and_then_somebody_answers
    with pytest.raises(RetryLater, match="somebody changed the event"):
        await work.reschedule(review.id, MONDAY + HOUR, MONDAY + 2 * HOUR, timezone="UTC", effect=an_effect("move"))


async def test_a_review_is_called_off_once_with_the_reason_and_may_be_on_again(work, google):
    review = await booked(work)
    effect = an_effect("off")
    off = await work.cancel(review.id, reason="It was *reopened*.\n\nSorry.", effect=effect)
    assert (off.cancelled, effect.emitted[0][1].fields["cancelled"]) == (True, True)
    assert only(google)["description"].startswith("<p>Called off: It was <em>reopened</em>.")
    mails = len(google.mail)
    await work.cancel(review.id, reason="Twice", effect=effect)
    assert len(google.mail) == mails
    again = await work.reschedule(
        review.id, MONDAY + HOUR, MONDAY + 2 * HOUR, timezone="UTC", effect=an_effect("again")
    )
    assert not again.cancelled
    assert only(google)["description"] == '<p>See <a href="https://x.example">the report</a>.</p>'


async def test_a_review_that_is_not_there_is_told(work):
    assert await work.get("work:none00") is None
    with pytest.raises(ActionError, match="connection 'work' has no review 'work:none00'"):
        await work.cancel("work:none00", reason=None, effect=an_effect())


# --- what guests answer ----------------------------------------------------------------------------------------------


async def test_answers_are_read_since_the_last_look_and_others_events_are_passed_over(work, google, connection):
    stock = await work.changes(None)
    review = await booked(work, optional=[LINUS])
    google.other_event()
    looked = await work.changes(stock.cursor)
    assert [(fact.type, fact.subject) for fact in looked.facts] == [("review.scheduled", review.id)]
    connection.storage.records["review"] = [review]
    google.answers("ada@example.com", "declined", event_id("tok1"))
    google.answers("linus@example.com", "accepted", event_id("tok1"))
    (fact,) = (await work.changes(looked.cursor)).facts
    assert fact.type == "review.updated"
    assert (fact.fields["declined"], fact.fields["accepted"], fact.actor, fact.own) == ((ADA,), (LINUS,), ADA, False)


async def test_the_first_look_tells_nothing_and_a_look_without_news_neither(work, google):
    await booked(work)
    stock = await work.changes(None)
    assert stock.facts == []
    assert await work.changes(stock.cursor) == stock


async def test_where_the_sync_token_is_gone_all_of_ours_are_told_on_every_page(work, google):
    google.page = 1
    stock = await work.changes(None)
    for number in range(3):
        await booked(work, an_effect(f"tok{number}"), start=MONDAY + number * HOUR)
    google.deletes(event_id("tok2"))
    google.forgotten = 1
    again = await work.changes(stock.cursor)
    assert [fact.fields["cancelled"] for fact in again.facts] == [False, False, True]
    assert (await work.changes(again.cursor)).facts == []


async def test_a_deleted_event_is_a_review_that_is_called_off_although_only_its_id_is_told(work, google, connection):
    stock = await work.changes(None)
    connection.storage.records["review"] = [await booked(work)]
    google.deletes(event_id("tok1"), bare=True)
    (fact,) = (await work.changes(stock.cursor)).facts
    assert (fact.subject, fact.fields) == (f"work:{event_id('tok1')}", {"cancelled": True})


# --- the connection --------------------------------------------------------------------------------------------------


async def test_a_token_that_expired_is_replaced(work, google):
    await booked(work)
    google.expired = True
    assert await work.get(f"work:{event_id('tok1')}")
    assert google.tokens == 2


async def test_the_check_reads_the_calendar_and_asks_who_is_busy(work, google):
    assert await work.check() is None
    assert google.requests == ["list", "freebusy"]


async def test_a_service_account_without_somebody_to_act_for_is_told(calendar):
    assert "a service account invites nobody in its own name: set 'subject'" in await calendar(subject=None).check()


async def test_a_calendar_that_it_may_not_see_or_only_read_is_told_with_whom_to_share_it(calendar, google):
    told = await calendar(calendar="team@group.calendar.google.com").check()
    assert told.startswith(
        "there is no calendar 'team@group.calendar.google.com' that it may see: share it with hotwash@"
    )
    google.role = "reader"
    assert (await calendar().check()).startswith("it may only read the calendar 'primary': share it with hotwash@")


async def test_a_missing_scope_breaks_the_connection_with_its_name(work, google):
    challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="https://a"'}
    google.faults.append(Fault("list", 403, "insufficientPermissions", challenge))
    with pytest.raises(ConnectionBroken, match="use https://a in the Admin console"):
        await work.check()
