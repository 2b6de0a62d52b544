"""Bridges in Google Meet, against a calendar of ours that keeps state."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from actions.providers.google_calendar import GoogleCalendarProvider
from actions.providers.google_events import event_id
from actions.providers.google_meet import GoogleMeetProvider
from engine.plugins import ActionError, RetryLater
from tests.fakes import ADA, MONDAY, FakeConnection, an_effect
from tests.google_calendar_stand_in import SELF, Fault, StandIn
from tests.google_credentials import service_account


@pytest.fixture
def connection():
    return FakeConnection(Path(), "bridge")


@pytest.fixture
async def google(connection):
    one = await StandIn(connection.clock.now).start()
    one.busy["ada@example.com"] = []
    yield one
    await one.stop()


@pytest.fixture
async def meet(google, connection):
    key = service_account(f"{google.address}/token")
    made = GoogleMeetProvider.build(
        GoogleMeetProvider.options(credentials=key, subject=SELF, api=google.address), connection
    )
    yield made
    await made.aclose()


async def opened(meet, effect=None):
    return await meet.create("P1\nCheckout", people=[ADA], incident="pager:P1", effect=effect or an_effect())


async def test_a_bridge_is_the_link_of_an_event_that_takes_nobodys_time(meet, google):
    effect = an_effect()
    bridge = await opened(meet, effect)
    (event,) = google.events.values()
    assert (bridge.url, bridge.created_at, bridge.ended_at) == ("https://meet.example/tok1", MONDAY, None)
    assert (event["summary"], event["transparency"]) == ("P1 Checkout", "transparent")
    assert event["visibility"] == "private"
    assert [guest["email"] for guest in event["attendees"]] == ["ada@example.com"]
    assert effect.emitted[0][1].fields == {"meeting": bridge}


async def test_an_answer_that_is_lost_leaves_one_bridge(meet, google):
    google.faults.append(Fault("insert", lost=True))
    with pytest.raises(RetryLater):
        await opened(meet)
    assert (await opened(meet)).id == f"bridge:{event_id('tok1')}"
    assert len(google.events) == 1


async def test_a_link_that_is_not_made_yet_is_waited_for(meet, google):
    google.pending_meet = True
    with pytest.raises(RetryLater, match="not made the Meet link yet") as told:
        await opened(meet)
    assert told.value.after == 2
    made = google.events[event_id("tok1")]
    made["conferenceData"]["entryPoints"] = [{"entryPointType": "video", "uri": "https://meet.example/late"}]
    assert (await opened(meet)).url == "https://meet.example/late"


async def test_a_calendar_without_meet_is_told(meet, google):
    google.without_meet = True
    with pytest.raises(ActionError, match="the calendar gives no Meet links"):
        await opened(meet)


async def test_a_bridge_ends_once_and_its_event_with_it(meet, google):
    bridge = await opened(meet)
    later = an_effect("end")
    later.at = MONDAY + timedelta(minutes=40)
    ended = await meet.end(bridge.id, effect=later)
    assert (ended.ended_at, google.events[event_id("tok1")]["end"]["dateTime"]) == (later.at, later.at.isoformat())
    assert later.emitted[0][1].fields["meeting"] == ended
    again = an_effect("again")
    again.at = MONDAY + timedelta(hours=2)
    assert (await meet.end(bridge.id, effect=again), google.requests.count("patch")) == (ended, 1)


async def test_a_bridge_whose_event_was_deleted_is_over(meet, google):
    bridge = await opened(meet)
    google.deletes(event_id("tok1"))
    assert (await meet.get(bridge.id)).ended_at == MONDAY


async def test_a_bridge_that_is_not_there_is_told(meet):
    assert await meet.get("bridge:none00") is None
    with pytest.raises(ActionError, match="connection 'bridge' has no meeting 'bridge:none00'"):
        await meet.end("bridge:none00", effect=an_effect())


async def test_the_check_reads_the_calendar(meet, google):
    assert await meet.check() is None
    assert google.requests == ["list"]


async def test_a_bridge_is_no_review_of_the_calendar_that_it_stands_in(meet, google, connection):
    options = {"credentials": service_account(f"{google.address}/token"), "subject": SELF, "api": google.address}
    calendar = GoogleCalendarProvider.build(GoogleCalendarProvider.options(**options), connection)
    stock = await calendar.changes(None)
    bridge = await opened(meet)
    await meet.end(bridge.id, effect=an_effect())
    assert (await calendar.changes(stock.cursor)).facts == []
    await calendar.aclose()
