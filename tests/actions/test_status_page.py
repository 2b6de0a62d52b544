import asyncio
import dataclasses
from datetime import timedelta

import pytest
from pydantic import ValidationError

from actions.status_page import CreateEntry, ResolveEntry, UpdateEntry, create, resolve, update
from engine.domain import Incident, StatusEntry, StatusUpdate
from engine.plugins import ActionError, native
from engine.testing import RecordingChat, World
from engine.wiring import open_application
from tests.fakes import MONDAY, FakeContext

ENTRY = StatusEntry("status:e1", "Checkout is slow", incident="pager:P1")
INCIDENT = Incident("pager:P1", "P1", "Queue at 98 %", status_page=ENTRY)
PRIVATE = dataclasses.replace(INCIDENT, private=True)


class FakePages:
    """A status page that remembers what it was told."""

    def __init__(self):
        self.told = []

    async def create(self, title, update, *, incident, effect):
        self.told.append((title, update, incident))
        return ENTRY

    async def update(self, entry, update, *, effect):
        self.told.append((entry, update))
        return ENTRY


class FakeIncidents:
    async def get(self, ref):
        return PRIVATE if ref == "INC-7" else None


def desk(incident=INCIDENT):
    return FakeContext(status_page=FakePages(), incidents=FakeIncidents(), incident=incident)


async def test_an_entry_is_opened_about_the_runs_incident():
    ctx = desk()
    params = CreateEntry(title="Slow", text="We look.", impact="major", components=["checkout", "api"])
    assert await create.function(params, ctx) == ENTRY
    affected = {"checkout": None, "api": None}
    news = StatusUpdate("We look.", None, "investigating", "major", affected)
    assert ctx.status_page.told == [("Slow", news, "pager:P1")]


async def test_an_entry_may_be_about_nothing():
    ctx = desk(None)
    await create.function(CreateEntry(title="Slow", text="We look."), ctx)
    assert ctx.status_page.told[0][2] is None


async def test_a_message_goes_to_the_entry_of_the_runs_incident():
    ctx = desk()
    await update.function(UpdateEntry(text="Found.", state="identified", components={"api": "operational"}), ctx)
    news = StatusUpdate("Found.", None, "identified", None, {"api": "operational"})
    assert ctx.status_page.told == [("status:e1", news)]


@pytest.mark.parametrize("ref", ["status:e9", dataclasses.replace(ENTRY, id="status:e9")])
async def test_a_message_may_name_another_entry(ref):
    ctx = desk()
    await resolve.function(ResolveEntry(entry=ref), ctx)
    assert ctx.status_page.told == [("status:e9", StatusUpdate("This incident is resolved.", state="resolved"))]


@pytest.mark.parametrize(
    ("incident", "why"),
    [
        (None, "the run is about no incident: name one with 'entry'"),
        (dataclasses.replace(INCIDENT, status_page=None), "P1 has no entry on a status page: name one with 'entry'"),
    ],
)
async def test_without_an_entry_there_is_nothing_to_add_to(incident, why):
    with pytest.raises(ActionError, match=why):
        await resolve.function(ResolveEntry(), desk(incident))


DOINGS = [
    (create, CreateEntry, {"title": "Slow", "text": "We look."}),
    (update, UpdateEntry, {"text": "Found."}),
    (resolve, ResolveEntry, {}),
]


@pytest.mark.parametrize(("action", "params", "inputs"), DOINGS)
async def test_nothing_of_a_private_incident_is_told_unless_asked_for(action, params, inputs):
    ctx = desk(PRIVATE)
    with pytest.raises(ActionError, match="P1 is private, and a status page is not: 'private: true' tells"):
        await action.function(params(**inputs), ctx)
    assert ctx.status_page.told == []
    await action.function(params(**inputs, private=True), ctx)
    assert len(ctx.status_page.told) == 1


@pytest.mark.parametrize("ref", ["INC-7", PRIVATE])
async def test_nothing_of_a_private_incident_that_is_named_is_told(ref):
    with pytest.raises(ActionError, match="P1 is private"):
        await create.function(CreateEntry(title="Slow", text="We look.", incident=ref), desk(None))


async def test_an_incident_that_is_not_known_is_an_error():
    with pytest.raises(ActionError, match="no incident is called 'INC-8'"):
        await create.function(CreateEntry(title="Slow", text="We look.", incident="INC-8"), desk())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("checkout", "must be a list of components or services"),
        ([1], "must be a list of components or services"),
        ({"checkout": "broken"}, "the state of 'checkout' must be one of operational, degraded_performance,"),
        ([f"c{number}" for number in range(101)], "may name 100 components, not 101"),
    ],
)
def test_components_are_names_or_names_with_states(given, why):
    with pytest.raises(ValidationError, match=why):
        UpdateEntry(text="Found.", components=given)


# --- on the real engine

PROJECT = """\
timezone: UTC
owner: grace
people: people.yaml
connections:
  status: {provider: static, folder: public, title: Example, components: {checkout: Checkout}}
use: {status_page: status}
"""
FLOW = """\
on: incident.declared
steps:
  - id: entry
    uses: status_page.create
    with:
      title: "Checkout is slow"
      text: "We look into ${{ incident.title }}."
      impact: major
      components: ${{ incident.services }}
  - wait: {until: incident.status == "mitigated"}
  - uses: status_page.update
    with: {state: monitoring, text: "A fix is out.", components: {checkout: degraded_performance}}
  - uses: chat.post
    with: {text: "${{ incident.status_page.state }} ${{ incident.status_page.url }}"}
  - wait: {until: not incident.open}
  - uses: status_page.resolve
"""
STILL_OPEN = """\
on:
  incident.resolved: {for: 30m}
if: incident.status_page.open
steps:
  - uses: chat.post
    with: {text: "${{ incident.status_page.title }} is still open on the page"}
"""


def project(folder, **workflows):
    (folder / "workflows").mkdir()
    (folder / "hotwash.yaml").write_text(PROJECT)
    (folder / "people.yaml").write_text("people: {grace: {name: Grace}}\n")
    for name, text in workflows.items():
        (folder / "workflows" / f"{name}.yaml").write_text(text)
    chat = RecordingChat()
    world = World(folder, MONDAY, open_application, providers={"console": chat})
    return world, chat


async def test_an_incident_is_told_of_from_its_beginning_to_its_end(tmp_path):
    world, chat = project(tmp_path, flow=FLOW, still=STILL_OPEN)
    async with world:
        assert "All systems are operational" in (tmp_path / "public" / "index.html").read_text()
        await world.incident("declared", title="a <full> queue", services=["checkout", "batch"])
        (incident,) = world.subjects("incident")
        assert (incident.status_page.state, incident.status_page.left_out) == ("investigating", ("batch",))
        page = (tmp_path / "public" / "index.html").read_text()
        assert "We look into a &lt;full&gt; queue." in page
        assert "Partial outage" in page
        await world.move("20m")
        await world.incident("mitigated")
        assert chat.sent[0].text == f"monitoring {incident.status_page.url}"
        await world.incident("resolved")
        (incident,) = world.subjects("incident")
        assert incident.status_page.resolved_at == MONDAY + timedelta(minutes=20)
        await world.move("1h")
        assert world.verdicts("still") == ["settling"]
        assert len(chat.sent) == 1


async def test_a_page_that_is_still_open_after_the_incident_is_seen_and_one_that_never_was_is_not(tmp_path):
    only_open = FLOW.partition("  - wait")[0]
    world, chat = project(tmp_path, flow=only_open.replace("declared", "acknowledged"), still=STILL_OPEN)
    async with world:
        await world.incident("declared", "pager:P1", title="One")
        await world.incident("acknowledged", "pager:P1")
        await world.incident("resolved", "pager:P1")
        await world.incident("resolved", "pager:P2", title="Two")
        await world.move("30m")
        assert [message.text for message in chat.sent] == ["Checkout is slow is still open on the page"]


async def test_what_was_written_before_a_crash_is_not_written_again_and_its_incident_hears_of_it(tmp_path):
    world, _ = project(tmp_path, flow=FLOW.partition("  - wait")[0])
    data = tmp_path / "public" / "status.json"
    async with world:
        page, written = world.application.providers["status"], asyncio.Event()
        write = page.create

        @native
        async def never_answered(*arguments, **more):
            await write(*arguments, **more)
            written.set()
            await asyncio.Event().wait()

        page.create = never_answered
        happening = asyncio.ensure_future(world.incident("declared", title="a queue"))
        await written.wait()
        happening.cancel()
        await world.crash()
        kept = data.read_text()
        await world.restart()
        (incident,) = world.subjects("incident")
        assert (data.read_text(), kept.count('"effect"')) == (kept, 1)
        assert incident.status_page.title == "Checkout is slow"
        assert world.runs()[0]["state"] == "finished"
