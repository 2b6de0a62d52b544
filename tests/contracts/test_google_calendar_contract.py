"""Google Calendar's API by its own description: all requests go through Prism to a calendar of ours that keeps state.

Prism answers 422 to a request that breaks the description, which none of these tests survives.
"""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest

from actions.providers.google_calendar import GoogleCalendarProvider
from actions.providers.google_events import event_id
from actions.providers.google_meet import GoogleMeetProvider
from engine.capabilities import Interval
from engine.domain import Person
from engine.plugins import RetryLater
from tests.fakes import ADA, GRACE, FakePeople, an_effect
from tests.google_calendar_stand_in import SELF, Fault, StandIn
from tests.google_credentials import service_account

HOUR = timedelta(hours=1)
LINUS = Person("linus", "Linus", email="linus@example.com", known=True)


@pytest.fixture(scope="module")
def port():
    """Give a port that stays the calendar's, so that one Prism serves all tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
async def google(port, connection):
    one = await StandIn(connection.clock.now).start(port)
    one.busy |= {"ada@example.com": [], "grace@example.com": []}
    yield one
    await one.stop()


@pytest.fixture
async def options(prism, google):
    api = prism("google-calendar", google.address)
    return {"credentials": service_account(f"{google.address}/token"), "subject": SELF, "api": api}


@pytest.fixture
async def work(options, connection):
    connection.people = FakePeople([ADA, GRACE, LINUS])
    made = GoogleCalendarProvider.build(
        GoogleCalendarProvider.options(**options, reminders={"email": "1d"}), connection
    )
    yield made
    await made.aclose()


@pytest.fixture
async def meet(options, connection):
    made = GoogleMeetProvider.build(GoogleMeetProvider.options(**options), connection)
    yield made
    await made.aclose()


async def booked(work, start, token="tok1", **more):
    who = {"attendees": [ADA, GRACE], "optional": [LINUS]} | more
    say = {"description": "See **this**.", "timezone": "Europe/Prague", "incident": "pager:P1"}
    return await work.create("Review", start, start + HOUR, **who, **say, effect=an_effect(token))


async def test_the_life_of_a_review(work, google, connection):
    now = connection.clock.now().replace(microsecond=0)
    stock = await work.changes(None)
    review = await booked(work, now)
    assert (await booked(work, now + HOUR)).start == now  # 409: it is there
    moved = await work.reschedule(review.id, now + HOUR, now + 2 * HOUR, timezone="UTC", effect=an_effect("move"))
    assert (moved.start, moved.video_url) == (now + HOUR, review.video_url)
    google.answers("ada@example.com", "declined")
    (fact,) = (await work.changes(stock.cursor)).facts
    assert fact.fields["declined"] == (ADA,)
    assert (await work.cancel(review.id, reason="It *burns*.", effect=an_effect("off"))).cancelled
    assert (await work.find(an_effect())).cancelled


async def test_who_is_busy(work, google, connection):
    now = connection.clock.now().replace(microsecond=0)
    google.busy["ada@example.com"] = [(now, now + HOUR)]
    busy = await work.busy([ADA, GRACE, LINUS], now, now + 2 * HOUR)
    assert busy == {"ada": [Interval(now, now + HOUR)], "grace": [], "linus": None}


async def test_an_answer_that_is_lost_on_the_way_leaves_one_review(work, google, connection):
    google.faults.append(Fault("insert", lost=True))
    with pytest.raises(RetryLater):
        await booked(work, connection.clock.now())
    assert (await work.find(an_effect())).id == f"vendor:{event_id('tok1')}"


async def test_the_sync_token_that_google_forgot_is_replaced(work, google, connection):
    stock = await work.changes(None)
    await booked(work, connection.clock.now())
    google.forgotten = 0
    assert len((await work.changes(stock.cursor)).facts) == 1


async def test_the_checks(work, meet):
    assert (await work.check(), await meet.check()) == (None, None)


async def test_the_life_of_a_bridge(meet):
    bridge = await meet.create("P1", people=[ADA], incident="pager:P1", effect=an_effect("bridge"))
    assert bridge.url.startswith("https://meet.example/")
    ended = await meet.end(bridge.id, effect=an_effect("end"))
    assert (ended.ended_at, await meet.get(bridge.id)) == (an_effect().at, ended)


EVENTS = "/calendars/primary/events"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/freeBusy", {"items": [{"id": 5}]}),
        ("POST", "/freeBusy", {"timeMin": "tomorrow", "items": []}),
        ("POST", EVENTS, {"id": "abcde", "start": "today"}),
        ("POST", f"{EVENTS}?sendUpdates=perhaps", {"id": "abcde"}),
        ("POST", EVENTS, {"id": "abcde", "invited": []}),
        ("GET", f"{EVENTS}?maxResults=many", None),
        ("GET", f"{EVENTS}/abcde?maxAttendees=many", None),
        ("PATCH", f"{EVENTS}/abcde", {"attendees": "ada@example.com"}),
    ],
)
async def test_the_specification_refuses_what_breaks_it(prism, google, by_hand, method, path, body):
    url = f"{prism('google-calendar', google.address)}/calendar/v3{path}"
    answer = await by_hand(method, url, headers={"Authorization": "Bearer token-1"}, body=body)
    assert answer.refused
    assert google.requests == []
