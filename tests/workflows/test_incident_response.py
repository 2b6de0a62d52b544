"""The shipped workflow of an incident's life, on the providers that need no account, over simulated weeks."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actions.providers.console import plain
from engine import operations, wiring
from engine.testing import World

LIBRARY = Path(__file__).parents[2] / "workflows"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROJECT = "timezone: UTC\nowner: grace\npeople: people.yaml\n"
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.com}
  linus: {name: Linus, email: linus@example.com}
  grace: {name: Grace, email: grace@example.com}
teams:
  sre: {lead: grace, members: [ada, linus, grace], rotation: default}
services:
  checkout: {team: sre}
  search: {rotation: search}
rotations:
  default: {members: [ada], every: 7d, from: "2026-03-02T08:00", timezone: UTC}
  search: {members: [linus], every: 7d, from: "2026-03-02T08:00", timezone: UTC}
"""
SLOW = "#inc-1-checkout-is-slow"


class Incident(World):
    """A project with this one workflow."""

    async def does(self, who, what, **inputs):
        done = await operations.perform(self.application, what, inputs, who)
        await self.settle()
        return done.data

    async def declare(self, severity="sev1", **more):
        inputs = {"title": "Checkout is slow", "severity": severity, "services": ("checkout",), **more}
        await self.does("grace", "declare_incident", **inputs)

    @property
    def console(self):
        return self.application.providers["console"]

    @property
    def now_known(self):
        return self.subjects("incident")[0]

    def channel(self, name=SLOW):
        return next(row for row in self.console.channels() if row["id"] == name)

    @property
    def summary(self):
        (row,) = [row for row in self.console.messages() if row.get("pinned")]
        return plain(row["text"])

    @property
    def state(self):
        return self.runs()[-1]["state"]


@pytest.fixture
async def world(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text(PROJECT)
    (tmp_path / "people.yaml").write_text(PEOPLE)
    shutil.copy(LIBRARY / "incident-response.yaml", tmp_path / "workflows")
    shutil.copytree(LIBRARY / "templates", tmp_path / "templates")
    async with Incident(tmp_path, MONDAY, wiring.open_application) as opened:
        yield opened


async def test_a_bad_incident_has_a_channel_with_those_on_call_a_bridge_a_page_and_a_summary(world):
    await world.declare(services=("checkout", "search"))
    incident = world.now_known
    assert (incident.channel, incident.status_page.impact, bool(incident.meeting.url)) == (SLOW, "major", True)
    assert world.channel()["members"] == ["ada", "linus", "grace"]
    assert world.channel()["topic"] == "sev1, declared, commander: nobody"
    assert "INC-1 Checkout is slow" in world.summary
    assert f"- Bridge: {incident.meeting.url}" in world.summary
    assert "- Status page: investigating" in world.summary


async def test_topic_and_summary_stay_true(world):
    await world.declare()
    await world.does("ada", "assign_incident", incident="INC-1", role="commander", to="linus")
    await world.does("ada", "update_incident", incident="INC-1", severity="sev2")
    assert world.channel()["topic"] == "sev2, declared, commander: Linus"
    assert "- Commander: Linus" in world.summary
    assert "linus" in world.channel()["members"]
    await world.does("ada", "resolve_incident", incident="INC-1")
    assert world.channel()["topic"] == "sev2, resolved, commander: Linus"
    assert "- Resolved: Mon 2 Mar 2026 09:00 UTC" in world.summary
    assert len(world.console.channels()) == 1


async def test_the_channel_is_archived_on_the_seventh_day_after_the_last_change_and_not_before(world):
    await world.declare()
    await world.move("2h")
    await world.does("ada", "resolve_incident", incident="INC-1")
    await world.move("6d23h")
    assert "archived_at" not in world.channel()
    await world.move("1h")
    assert world.channel()["archived_at"] == world.now.isoformat()
    assert world.state == "finished"


async def test_the_channel_stays_while_something_is_left_to_do(world):
    await world.declare()
    await world.does("ada", "create_ticket", title="Alert on depth", incident="INC-1")
    await world.does("ada", "resolve_incident", incident="INC-1")
    await world.move("15d")
    assert "archived_at" not in world.channel()
    await world.does("ada", "close_ticket", ticket="HW-1")
    await world.move("7d")
    assert "archived_at" in world.channel()


async def test_an_incident_that_is_open_for_weeks_keeps_its_channel(world):
    await world.declare()
    await world.move("30d")
    assert ("archived_at" in world.channel(), world.state) == (False, "waiting")


async def test_an_incident_that_is_opened_again_keeps_its_channel_and_gets_another_bridge(world):
    await world.declare()
    first = world.now_known.meeting
    await world.does("ada", "resolve_incident", incident="INC-1")
    assert world.now_known.meeting.ended_at is not None
    await world.move("5d")
    await world.does("ada", "reopen_incident", incident="INC-1")
    assert (world.now_known.meeting.id != first.id, world.now_known.meeting.ended_at) == (True, None)
    await world.move("6d")
    assert "archived_at" not in world.channel()
    assert world.channel()["topic"] == "sev1, declared, commander: nobody"


async def test_a_private_incident_has_a_private_channel_and_is_not_on_the_status_page(world):
    await world.declare(private=True)
    assert (world.channel()["private"], world.now_known.status_page) == (True, None)


async def test_a_small_incident_has_no_channel_until_it_turns_out_to_be_worse(world):
    await world.declare(severity="sev4")
    assert (world.runs(), world.console.channels()) == ([], [])
    await world.does("ada", "update_incident", incident="INC-1", severity="sev2")
    assert world.now_known.channel == SLOW
    await world.does("ada", "update_incident", incident="INC-1", severity="sev1")
    assert len(world.runs()) == 1


async def test_a_drill_and_a_smaller_incident_are_not_told_outside(world):
    await world.declare(drill=True)
    await world.declare(severity="sev2")
    assert [one.status_page for one in world.subjects("incident")] == [None, None]
    assert len(world.console.channels()) == 2


async def test_two_incidents_of_one_title_have_two_channels(world):
    for _ in range(2):
        await world.declare()
    assert [row["id"] for row in world.console.channels()] == [SLOW, "#inc-2-checkout-is-slow"]


async def test_a_duplicate_says_with_which_it_is_one_and_its_bridge_ends(world):
    await world.declare()
    await world.declare(title="Checkout is slow, too")
    await world.does("ada", "merge_incident", incident="INC-2", into="INC-1")
    summaries = [plain(row["text"]) for row in world.console.messages() if row.get("pinned")]
    assert ["one with INC-1" in text for text in summaries] == [False, True]
    assert [one.meeting.ended_at is None for one in world.subjects("incident")] == [True, False]
    await world.move("8d")
    assert ["archived_at" in row for row in world.console.channels()] == [False, True]


async def test_a_title_of_any_length_and_kind_has_a_channel(world):
    await world.declare(title="é" * 300)
    await world.declare(title="日本語 *x* [y](z)")
    assert [len(row["name"]) for row in world.console.channels()] == [80, len("inc-2-x-y-z")]


async def test_a_crash_leaves_one_channel_and_one_summary_that_is_still_kept_true(world):
    await world.declare()
    await world.crash()
    await world.restart()
    await world.does("ada", "update_incident", incident="INC-1", severity="sev3")
    assert len(world.console.channels()) == 1
    assert "- Severity: sev3" in world.summary


async def test_a_dry_run_opens_nothing(world):
    path = world.folder / "workflows" / "incident-response.yaml"
    path.write_text("mode: dry_run\n" + path.read_text("utf-8"), "utf-8")
    await world.restart()
    await world.declare()
    assert (world.console.channels(), world.console.messages(), world.now_known.channel) == ([], [], None)
