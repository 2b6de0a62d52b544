from __future__ import annotations

import dataclasses

import pytest

from actions.meeting import CreateMeeting, EndMeeting, create, end
from engine.domain import Incident, Meeting
from engine.plugins import ActionError
from engine.testing import RecordingChat, World
from engine.wiring import open_application
from tests.fakes import ADA, MONDAY, FakeContext

MEETING = Meeting("bridge:m1", "Bridge", "https://meet.example/m1", "pager:P1")
INCIDENT = Incident("pager:P1", "P1", "Queue at 98 %", meeting=MEETING)


class FakeMeetings:
    """A service for meetings that remembers what it was told."""

    def __init__(self):
        self.told = []

    async def create(self, title, *, people, incident, private, effect):
        self.told.append((title, people, incident, private))
        return MEETING

    async def end(self, meeting, *, effect):
        self.told.append(meeting)
        return MEETING


class FakeIncidents:
    async def get(self, ref):
        return dataclasses.replace(INCIDENT, id="pager:P7") if ref == "INC-7" else None


def desk(incident=INCIDENT):
    return FakeContext(meetings=FakeMeetings(), incidents=FakeIncidents(), incident=incident)


async def test_a_meeting_is_opened_for_the_runs_incident():
    ctx = desk()
    assert await create.function(CreateMeeting(title="Bridge", people=[ADA, ADA]), ctx) == MEETING
    assert ctx.meetings.told == [("Bridge", [ADA], "pager:P1", False)]


async def test_the_meeting_of_a_private_incident_is_private():
    ctx = desk(dataclasses.replace(INCIDENT, private=True))
    await create.function(CreateMeeting(title="Bridge"), ctx)
    assert ctx.meetings.told[0][3] is True


@pytest.mark.parametrize(
    ("incident", "named", "told"),
    [(None, None, None), (INCIDENT, "P1", "pager:P1"), (None, "INC-7", "pager:P7"), (None, INCIDENT, "pager:P1")],
)
async def test_a_meeting_may_be_for_nothing_or_for_a_named_incident(incident, named, told):
    ctx = desk(incident)
    await create.function(CreateMeeting(title="Bridge", incident=named), ctx)
    assert ctx.meetings.told[0][2] == told


async def test_an_incident_that_is_not_known_is_an_error():
    with pytest.raises(ActionError, match="no incident is called 'INC-8'"):
        await create.function(CreateMeeting(title="Bridge", incident="INC-8"), desk())


@pytest.mark.parametrize(("named", "told"), [(None, "bridge:m1"), ("bridge:m9", "bridge:m9"), (MEETING, "bridge:m1")])
async def test_the_meeting_of_the_incident_is_ended_or_the_named_one(named, told):
    ctx = desk()
    await end.function(EndMeeting(meeting=named), ctx)
    assert ctx.meetings.told == [told]


@pytest.mark.parametrize(
    ("incident", "why"),
    [
        (None, "the run is about no incident: name one with 'meeting'"),
        (dataclasses.replace(INCIDENT, meeting=None), "P1 has no meeting: name one with 'meeting'"),
    ],
)
async def test_without_a_meeting_there_is_none_to_end(incident, why):
    with pytest.raises(ActionError, match=why):
        await end.function(EndMeeting(), desk(incident))


# --- on the real engine

FLOW = """\
on: incident.declared
steps:
  - uses: meeting.create
    with: {title: "${{ incident.key }} ${{ incident.title }}"}
  - uses: chat.post
    with: {text: "${{ incident.meeting.open }} ${{ incident.meeting.url }}"}
  - wait: {until: not incident.open}
  - uses: meeting.end
  - uses: chat.post
    with: {text: "${{ incident.meeting.open }} ${{ incident.meeting.incident.key }}"}
"""


async def test_an_incident_has_its_bridge_from_its_beginning_to_its_end_without_an_account(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text("timezone: UTC\nowner: grace\npeople: people.yaml\n")
    (tmp_path / "people.yaml").write_text("people: {grace: {name: Grace}}\n")
    (tmp_path / "workflows" / "bridge.yaml").write_text(FLOW)
    chat = RecordingChat()
    async with World(tmp_path, MONDAY, open_application, providers={"console": chat}) as world:
        await world.incident("declared", title="The queue is full")
        (incident,) = world.subjects("incident")
        assert incident.meeting.url.startswith("https://meet.jit.si/p1-the-queue-is-full-")
        await world.crash()
        await world.restart()
        await world.incident("resolved")
        (after,) = world.subjects("incident")
        assert (after.meeting.url, after.meeting.ended_at) == (incident.meeting.url, MONDAY)
        assert [message.text for message in chat.sent] == [f"true {incident.meeting.url}", "false P1"]
