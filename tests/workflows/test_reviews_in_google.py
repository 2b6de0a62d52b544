"""The shipped workflows on a Google calendar, over simulated weeks: booked in everybody's hours, declined, moved."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from engine import operations
from engine.config import library
from engine.testing import MovableClock, RecordingChat, World
from engine.wiring import open_application
from tests.google_calendar_stand_in import Fault, StandIn
from tests.google_credentials import service_account

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOTWASH = """\
timezone: Europe/Prague
owner: mary
connections:
  work:
    provider: google_calendar
    credentials: ${GOOGLE_CREDENTIALS}
    subject: hotwash@example.com
    api: ADDRESS
  bridge: {provider: google_meet, credentials: "${GOOGLE_CREDENTIALS}", subject: hotwash@example.com, api: "ADDRESS"}
use: {calendar: work, meeting: bridge}
calendars:
  office: {hours: {mon-fri: "09:00-17:00"}, holidays: [CZ]}
people: people.yaml
"""
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.com, timezone: Europe/Prague}
  grace: {name: Grace, email: grace@example.com, timezone: America/New_York}
  mary: {name: Mary, email: mary@example.com}
teams: {sre: {lead: mary, members: [ada, grace]}}
rotations: {default: {members: [mary], every: 7d, from: "2026-03-02T00:00"}}
services: {checkout: {}}
"""


BRIDGE = """\
on: incident.declared
steps:
  - uses: meeting.create
    with: {title: "${{ incident.title }}"}
  - uses: chat.post
    with: {text: "Join ${{ incident.meeting.url }}"}
"""


class Desk:
    """A project with the shipped workflows, its engine, a Google calendar and a chat that records."""

    def __init__(self, folder, workflows):
        self.clock = MovableClock(MONDAY)
        self.google = StandIn(self.clock.now)
        self.google.busy |= {"ada@example.com": [], "grace@example.com": [], "mary@example.com": []}
        self.chat = RecordingChat()
        self.folder = folder
        (folder / "workflows").mkdir()
        shutil.copytree(library() / "templates", folder / "templates")
        for name in workflows:
            shutil.copy(library() / f"{name}.yaml", folder / "workflows")
        (folder / "people.yaml").write_text(PEOPLE)

    async def start(self):
        await self.google.start()
        (self.folder / "hotwash.yaml").write_text(HOTWASH.replace("ADDRESS", self.google.address))
        key = service_account(f"{self.google.address}/token")
        providers = {"console": self.chat}
        environ = {"GOOGLE_CREDENTIALS": key}
        return World(self.folder, MONDAY, open_application, providers=providers, environ=environ, clock=self.clock)

    async def incident_is_over(self, world):
        people = [world.application.hub.directory.people.person(name) for name in ("ada", "grace")]
        known = {"title": "Checkout is slow", "severity": "sev1", "services": ["checkout"], "participants": people}
        await world.incident("resolved", **known)
        await world.move("16m")

    @property
    def event(self):
        (event,) = self.google.events.values()
        return event

    @property
    def times(self):
        return [datetime.fromisoformat(self.event[side]["dateTime"]).astimezone(UTC) for side in ("start", "end")]


@pytest.fixture
async def desk(tmp_path):
    one = Desk(tmp_path, ["postmortem", "declined-review"])
    yield one
    await one.google.stop()


def in_hours(start, end, zone):
    local = [at.astimezone(ZoneInfo(zone)) for at in (start, end)]
    return local[0].weekday() < 5 and local[0].hour >= 9 and (local[1].hour, local[1].minute) <= (17, 0)


async def test_a_review_is_booked_where_everybody_is_free_at_work_and_moved_when_one_who_must_come_declines(desk):
    async with await desk.start() as world:
        desk.google.busy["ada@example.com"] = [(MONDAY, MONDAY + timedelta(hours=6))]  # until 16:00 in Prague
        await desk.incident_is_over(world)
        first = desk.times
        assert first[0] == datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # 16:00 in Prague, 10:00 in New York
        (review,) = world.subjects("review")
        assert {person.id for person in review.attendees} == {"ada", "grace", "mary"}
        assert review.video_url in str(desk.event["conferenceData"])

        desk.google.answers("grace@example.com", "declined")
        await world.move("6m")
        assert world.runs("declined-review")[0]["state"] == "waiting"
        assert world.subjects("review")[0].declined[0].id == "grace"
        await world.move("20m")
        second = desk.times
        assert second[0] >= first[1]
        assert all(in_hours(*second, zone) for zone in ("Europe/Prague", "America/New_York"))
        assert {guest["responseStatus"] for guest in desk.event["attendees"]} == {"needsAction"}
        await world.move("2d")
        assert (world.subjects("review")[0].start, world.subjects("review")[0].declined) == (second[0], ())
        assert [run["state"] for run in world.runs("declined-review")] == ["finished"]


async def test_two_who_decline_one_after_the_other_move_it_once(desk):
    async with await desk.start() as world:
        await desk.incident_is_over(world)
        for guest in ("ada@example.com", "grace@example.com"):
            desk.google.answers(guest, "declined")
            await world.move("6m")
        await world.move("1h")
        assert desk.google.requests.count("patch") == 1
        assert [run["state"] for run in world.runs("declined-review")] == ["finished"]


async def test_one_that_is_accepted_and_one_that_is_only_declined_by_mistake_stay_where_they_are(desk):
    async with await desk.start() as world:
        await desk.incident_is_over(world)
        first = desk.times
        desk.google.answers("ada@example.com", "accepted")
        desk.google.answers("grace@example.com", "declined")
        await world.move("6m")
        desk.google.answers("grace@example.com", "accepted")
        await world.move("1h")
        assert desk.times == first
        assert [run["reason"] for run in world.runs("declined-review")] == [
            "everybody who must come can come after all"
        ]
        assert {one.id for one in world.subjects("review")[0].accepted} == {"ada", "grace"}


async def test_three_times_are_enough_and_then_a_person_is_asked(desk):
    async with await desk.start() as world:
        await desk.incident_is_over(world)
        seen = set()
        for _ in range(4):
            seen.add(desk.times[0])
            desk.google.answers("ada@example.com", "declined")
            await world.move("25m")
        assert len(seen) == 4
        assert len([text for text in desk.chat.to("mary") if "was declined again" in text]) == 1
        assert len(world.runs("declined-review")) == 4


async def test_where_nobody_has_time_the_owner_hears_why(desk):
    async with await desk.start() as world:
        await desk.incident_is_over(world)
        desk.google.busy["ada@example.com"] = [(desk.times[0] + timedelta(hours=1), MONDAY + timedelta(days=30))]
        desk.google.answers("ada@example.com", "declined")
        await world.move("6h")
        assert world.runs("declined-review")[0]["state"] == "failed"
        assert any("could not be moved: no 45 minutes" in text for text in desk.chat.to("mary"))


async def test_a_crash_between_the_booking_and_its_result_books_no_second_review(desk):
    async with await desk.start() as world:
        released = asyncio.Event()
        fault = Fault("insert", late=released)
        desk.google.faults.append(fault)
        happening = asyncio.ensure_future(desk.incident_is_over(world))
        await fault.done.wait()
        happening.cancel()
        await world.crash()
        released.set()
        await world.restart()
        await world.move("1h")
        (review,) = world.subjects("review")
        assert (len(desk.google.events), review.start) == (1, desk.times[0])
        assert len([1 for method, *_ in desk.google.mail if method == "insert"]) == 3  # one for each guest


async def test_a_crash_between_the_move_and_its_result_moves_it_once(desk):
    async with await desk.start() as world:
        await desk.incident_is_over(world)
        released = asyncio.Event()
        fault = Fault("patch", late=released)
        desk.google.faults.append(fault)
        desk.google.answers("grace@example.com", "declined")
        happening = asyncio.ensure_future(world.move("25m"))
        await fault.done.wait()
        happening.cancel()
        await world.crash()
        released.set()
        moved = desk.times
        await world.restart()
        await world.move("1h")
        assert (desk.times, desk.google.requests.count("patch")) == (moved, 1)
        assert world.subjects("review")[0].start == moved[0]


async def test_a_crash_between_the_bridge_and_its_result_opens_no_second_one_and_it_is_no_review(desk):
    (desk.folder / "workflows" / "bridge.yaml").write_text(BRIDGE)
    async with await desk.start() as world:
        released = asyncio.Event()
        fault = Fault("insert", late=released)
        desk.google.faults.append(fault)
        happening = asyncio.ensure_future(world.incident("declared", title="Checkout is slow"))
        await fault.done.wait()
        happening.cancel()
        await world.crash()
        released.set()
        await world.restart()
        (incident,) = world.subjects("incident")
        assert desk.chat.to("#default") == [f"Join {incident.meeting.url}"]
        await world.move("1h")
        assert (len(desk.google.events), world.subjects("review")) == (1, [])


@pytest.mark.parametrize("fault", [Fault("insert", 503, "backendError"), Fault("insert", lost=True)])
async def test_trouble_while_booking_is_tried_again_and_books_once(desk, fault):
    async with await desk.start() as world:
        desk.google.faults.append(fault)
        await desk.incident_is_over(world)
        await world.move("1h")
        assert (len(desk.google.events), world.runs("postmortem")[0]["error"]) == (1, None)


async def test_too_many_requests_wait_as_long_as_google_asks(desk):
    async with await desk.start() as world:
        desk.google.faults.append(Fault("insert", 403, "rateLimitExceeded", {"Retry-After": "600"}))
        await desk.incident_is_over(world)
        await world.move("8m")
        assert desk.google.events == {}
        await world.move("5m")
        assert len(desk.google.events) == 1


async def test_a_scope_that_is_missing_holds_the_connection_until_it_is_granted(desk):
    async with await desk.start() as world:
        desk.google.faults += [Fault("insert", 403, "insufficientPermissions")]
        await desk.incident_is_over(world)
        assert any("work is held" in text and "Domain-wide delegation" in text for _, text in world.told)
        await world.move("2h")
        assert len(desk.google.events) == 1


async def test_doctor_tries_token_scopes_and_calendar_and_says_who_grants_what_is_missing(desk):
    async with await desk.start() as world:

        async def says():
            done = await operations.perform(world.application, "check_connections", {"connection": "work"}, "ada")
            return done.data["connections"][0]["problem"]

        assert await says() is None
        desk.google.faults.append(Fault("freebusy", 403, "insufficientPermissions"))
        told = await says()
        assert "answered calendar.freebusy.query with 403 insufficientPermissions" in told
        assert "a Workspace administrator lets client" in told
        assert "https://www.googleapis.com/auth/calendar.freebusy in the Admin console" in told
