"""Jira and PagerDuty on the engine: what is made there is made once, whatever becomes of the answer and of us."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from engine import wiring
from engine.plugins import Fact
from engine.testing import World
from tests.fakes import MONDAY
from tests.standins.jira_cloud import API, JiraCloud
from tests.standins.pagerduty import PagerDutyAccount

PROJECT = """\
timezone: UTC
owner: grace
people: people.yaml
connections:
  tracker:
    {{provider: jira, server: "{jira}", user: hotwash@example.com, token: "${{TOKEN}}", deployment: cloud,
      project: OPS}}
  pager:
    {{provider: pagerduty, api: "{pager}", token: "${{TOKEN}}", email: hotwash@example.com, severity: {{P1: sev1}},
      webhook_secret: "${{TOKEN}}"}}
use: {{ticket: tracker, incident: pager}}
"""
PEOPLE = "people: {grace: {name: Grace, email: grace@example.org}}\n"
SAY = """
  - uses: chat.post
    with: {text: "${{ %s }}"}
"""
FILE = (
    """\
on: incident.acknowledged
steps:
  - id: file
    uses: ticket.create
    with: {title: Alert on it, labels: [postmortem], team: sre}
"""
    + SAY % "incident.action_items | length"
)
COMMENT = (
    """\
on: incident.acknowledged
steps:
  - uses: ticket.comment
    with: {ticket: OPS-1, text: "Look at **it**."}
"""
    + SAY % "'done'"
)
NOTE = (
    """\
on: incident.acknowledged
steps:
  - uses: incident.note
    with: {text: Drained by hand., at_source: true}
"""
    + SAY % "incident.timeline | length"
)
DECLARE = (
    """\
on: incident.acknowledged
steps:
  - id: more
    uses: incident.declare
    with: {title: The other one, severity: sev1, services: [Checkout]}
"""
    + SAY % "steps.more.key"
)


class There:
    """Both vendors, and the engine between them, whose incident PINC001 is open."""

    def __init__(self, world, jira, pager, chat):
        self.world, self.jira, self.pager, self.chat = world, jira, pager, chat

    @property
    def said(self):
        return [message.text for message in self.chat.sent]

    async def acknowledged(self):
        fields = {"title": "Slow", "status": "acknowledged", "severity": "sev1"}
        await self.world.application.accept(
            "pager", [Fact("incident.acknowledged", self.world.now, "incident", "pager:PINC001", fields)]
        )

    def issues(self):
        return [issue.fields["summary"] for issue in self.jira.issues.values()][1:]

    def comments(self):
        return [1 for issue in self.jira.issues.values() for _ in issue.comments]

    def notes(self):
        return [note["content"] for notes in self.pager.notes.values() for note in notes]

    def incidents(self):
        return [incident["title"] for incident in self.pager.incidents.values()][1:]


@pytest.fixture
def there(tmp_path):
    @asynccontextmanager
    async def run(text):
        from engine.testing import MovableClock, RecordingChat

        clock, chat = MovableClock(MONDAY), RecordingChat()
        async with AsyncExitStack() as stack:
            jira = await stack.enter_async_context(JiraCloud(clock.now))
            pager = await stack.enter_async_context(PagerDutyAccount(clock.now))
            jira.add("There before")
            pager.add("Slow", priority={"summary": "P1"})
            (tmp_path / "hotwash.yaml").write_text(PROJECT.format(jira=jira.url, pager=pager.url))
            (tmp_path / "people.yaml").write_text(PEOPLE)
            (tmp_path / "workflows").mkdir()
            (tmp_path / "workflows" / "flow.yaml").write_text(text)
            more = {"providers": {"console": chat}, "environ": {"TOKEN": "of-some-length"}, "clock": clock}
            world = await stack.enter_async_context(World(tmp_path, MONDAY, wiring.open_application, **more))
            yield There(world, jira, pager, chat)

    return run


#: What is made once: the workflow, the stand-in, the request that makes it, what came of it, and what is said then.
MADE = {
    "issue": (FILE, "jira", ("POST", f"{API}/issue"), There.issues, ["Alert on it"], "1"),
    "comment": (COMMENT, "jira", ("POST", f"{API}/issue/OPS-1/comment"), There.comments, [1], "done"),
    "note": (NOTE, "pager", ("POST", "/incidents/PINC001/notes"), There.notes, ["Drained by hand."], "2"),
    "incident": (DECLARE, "pager", ("POST", "/incidents"), There.incidents, ["The other one"], "PD-2"),
}
made_once = pytest.mark.parametrize("what", MADE)


@made_once
async def test_what_was_made_before_a_crash_is_found_and_not_made_again(there, what):
    text, vendor, request, made, expected, said = MADE[what]
    async with there(text) as it:
        getattr(it, vendor).hangs_after(*request)
        await it.acknowledged()
        await getattr(it, vendor).began.wait()
        await it.world.crash()
        await it.world.restart()
        await it.world.move("15m")
        assert (made(it), it.said, it.world.runs()[-1]["state"]) == (expected, [said], "finished")


@made_once
async def test_a_request_that_outlives_us_is_waited_for(there, what):
    text, vendor, request, made, expected, said = MADE[what]
    async with there(text) as it:
        getattr(it, vendor).hangs_before(*request)
        await it.acknowledged()
        await getattr(it, vendor).began.wait()
        await it.world.crash()
        await it.world.restart()
        await it.world.move("30s")
        getattr(it, vendor).go_on.set()
        await it.world.move("15m")
        assert (made(it), it.said) == (expected, [said])


@made_once
@pytest.mark.parametrize("trouble", ["loses_next_answer", "fails_after", "refuses_next"])
async def test_an_answer_that_says_nothing_of_what_was_done_doubles_nothing(there, what, trouble):
    text, vendor, request, made, expected, said = MADE[what]
    async with there(text) as it:
        status = [] if trouble == "loses_next_answer" else [502]
        getattr(getattr(it, vendor), trouble)(*request, *status)
        await it.acknowledged()
        await it.world.move("15m")
        assert (made(it), it.said) == (expected, [said])


@made_once
async def test_429_is_a_row_that_falls_due_when_the_vendor_says(there, what):
    text, vendor, request, made, expected, said = MADE[what]
    async with there(text) as it:
        getattr(it, vendor).refuses_next(*request, 429, Retry_After="120")
        await it.acknowledged()
        await it.world.move("119s")
        assert made(it) == []
        await it.world.crash()
        await it.world.restart()
        await it.world.move("30s")
        assert (made(it), it.said) == (expected, [said])


async def test_an_issue_that_the_search_shows_late_is_waited_for_after_a_crash(there):
    async with there(FILE) as it:
        it.jira.lag = lambda: timedelta(seconds=110)
        it.jira.hangs_after("POST", f"{API}/issue")
        await it.acknowledged()
        await it.jira.began.wait()
        await it.world.crash()
        await it.world.restart()
        await it.world.move("15m")
        assert (it.issues(), it.said) == (["Alert on it"], ["1"])


async def test_an_issue_that_was_made_and_could_not_be_read_is_not_made_again(there):
    async with there(FILE) as it:
        it.jira.refuses_next("GET", f"{API}/issue/OPS-2", 429, Retry_After="60")
        await it.acknowledged()
        await it.world.move("15m")
        assert (it.issues(), it.said) == (["Alert on it"], ["1"])


async def test_a_token_that_expired_holds_its_connection_and_no_other_until_it_works(there):
    async with there(FILE) as it:
        await it.world.move("1m")
        it.jira.refuses = {"Basic aG90d2FzaEBleGFtcGxlLmNvbTpvZi1zb21lLWxlbmd0aA=="}
        await it.acknowledged()
        await it.world.move("10m")
        assert ("connection.held" in [name for name, _ in it.world.told], it.issues()) == (True, [])
        it.jira.refuses = set()
        await it.world.move("1h")
        assert (it.issues(), it.said) == (["Alert on it"], ["1"])


async def test_a_note_that_comes_back_by_webhook_is_one_line_of_the_timeline(there):
    async with there(NOTE) as it:
        await it.acknowledged()
        await it.world.settle()
        source = it.world.application.sources["pager"]
        note = {"id": "PNOTE00", "type": "incident_note", "content": "Drained by hand.", "incident": {"id": "PINC001"}}
        event = {"id": "01E", "event_type": "incident.annotated", "occurred_at": MONDAY.isoformat(), "data": note}
        received = source.read({}, json.dumps({"event": event}).encode(), it.world.now)
        await it.world.happens("pager", *received.facts)
        (incident,) = it.world.subjects("incident")
        entries = it.world.application.hub.lookups().field(incident, "timeline")
        assert [entry.text for entry in entries if entry.kind == "note"] == ["Drained by hand."]


async def test_notes_and_log_of_the_pager_stand_in_the_timeline_once_however_often_they_are_read(there):
    text = "on: incident.acknowledged\nsteps:\n  - uses: incident.capture\n  - uses: incident.capture\n"
    async with there(text + SAY % "incident.timeline | length") as it:
        it.pager.write("PINC001", "escalate", "Escalated to Ada")
        it.pager.note("PINC001", "Drained by hand.")
        await it.acknowledged()
        await it.world.settle()
        assert it.said == ["3"]  # acknowledged, escalated, drained
        assert len(it.world.events("incident.updated")) == 2
