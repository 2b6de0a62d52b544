"""The shipped postmortem with its document in Google Docs, over simulated days."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actions.providers.google_page import read
from engine import wiring
from engine.domain import Entry, Person
from engine.plugins import Fact
from engine.testing import World
from tests.google_credentials import service_account

pytest.importorskip("extradoc", reason="the package extradoc, which plays Google Docs, is not installed")

from tests.google_drive import GoogleStandIn

SHIPPED = Path(__file__).resolve().parents[2] / "workflows"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROJECT = """\
timezone: UTC
owner: grace
people: people.yaml
connections:
  docs:
    provider: google_docs
    api: {api}
    credentials: ${{file:google.json}}
    folder: {drafts}
    published: {published}
use: {{document: docs}}
"""
PEOPLE = """\
people:
  ada: {name: Ada Example, email: ada@example.com, manager: grace}
  grace: {name: Grace Example, email: grace@example.com}
teams:
  sre: {lead: grace, members: [ada, grace]}
services:
  checkout: {team: sre}
"""
ADA = Person("ada", "Ada Example", email="ada@example.com")


@pytest.fixture
async def google():
    stand = GoogleStandIn()
    runner = await stand.start()
    top = stand.folder("Postmortems", drive="d1")
    stand.drafts, stand.published = stand.folder("Drafts", top, drive="d1"), stand.folder("Published", top, drive="d1")
    yield stand
    await runner.cleanup()


@pytest.fixture
async def world(google, tmp_path):
    (tmp_path / "google.json").write_text(service_account(f"{google.url}/token"))
    (tmp_path / "hotwash.yaml").write_text(
        PROJECT.format(api=google.url, drafts=google.drafts, published=google.published)
    )
    (tmp_path / "people.yaml").write_text(PEOPLE)
    (tmp_path / "workflows").mkdir()
    for name in ("postmortem", "action-items"):
        shutil.copy(SHIPPED / f"{name}.yaml", tmp_path / "workflows")
    shutil.copytree(SHIPPED / "templates", tmp_path / "templates")
    async with World(tmp_path, MONDAY, wiring.open_application) as world:
        google.now = world.clock.now
        yield world


async def resolved(world):
    """Let an incident come and go, with what people said meanwhile."""
    state = {"title": "Checkout 🔥 is slow", "severity": "sev1", "services": ("checkout",), "key": "P1"}
    await world.incident("declared", started_at=world.now, declared_at=world.now, **state)
    commander = Fact("incident.updated", world.now, "incident", "pager:P1", {"roles": {"commander": ADA}}, engine=True)
    await world.happens("hotwash", commander)
    await world.move("10m")
    note = Entry(world.now, "Drained node 3 | see graph.", by=ADA)
    await world.happens("hotwash", Fact("incident.updated", world.now, "incident", "pager:P1", engine=True, note=note))
    await world.move("30m")
    await world.incident("resolved", resolved_at=world.now)
    await world.move("20m")


def the_document(google):
    (number,) = [number for number, file in google.files.items() if "hotwash" in file.get("appProperties", {})]
    return number


def text_of(google):
    return read(google.documents[the_document(google)].get()).markdown()


def fill_in(google, *rows):
    """Type rows into the action item table, as people do."""
    google.fill_in(the_document(google), ["what", "owner"], *rows)


async def test_the_document_holds_what_is_known_of_the_incident(world, google):
    await resolved(world)
    text = text_of(google)
    assert google.files[the_document(google)]["parents"] == [google.drafts]
    assert text.startswith("# Postmortem: Checkout 🔥 is slow\n\n*This report is about how our systems")
    assert "| Incident | P1 |\n| --- | --- |\n| Severity | sev1 |\n| Services | checkout |\n" in text
    assert "| Time to resolve | 40 min |\n" in text
    assert "## Participants\n\n- [ada@example.com](mailto:ada@example.com)\n\n## Lead-up\n" in text
    assert (
        "## Timeline\n\n"
        "- Mon 2 Mar 2026 09:00 UTC: Declared\n"
        "- Mon 2 Mar 2026 09:00 UTC: commander: Ada Example\n"
        "- Mon 2 Mar 2026 09:10 UTC, Ada Example: Drained node 3 | see graph.\n"
        "- Mon 2 Mar 2026 09:40 UTC: Resolved\n\n*Add what is missing"
    ) in text
    assert text.endswith("| What | Owner | Due | Ticket |\n| --- | --- | --- | --- |\n|  |  |  |  |\n")


async def test_a_published_document_leads_to_tickets_whose_keys_stand_in_it(world, google):
    await resolved(world)
    fill_in(google, ("Alert on 🔥 depth", "Ada Example", "2026-03-20"), ("Test the restore", "@grace", ""))
    await world.move("3h")
    assert world.subjects("ticket") == []
    google.move(the_document(google), google.published)
    await world.move("6m")
    tickets = {one.key: one for one in world.subjects("ticket")}
    assert [(one.title, one.assignee.id) for one in tickets.values()] == [
        ("Alert on 🔥 depth", "ada"),
        ("Test the restore", "grace"),
    ]
    assert (tickets["HW-1"].incident, tickets["HW-1"].document) == ("pager:P1", f"docs:{the_document(google)}")
    assert text_of(google).endswith(
        "| Alert on 🔥 depth | Ada Example | 2026-03-20 | HW-1 |\n| Test the restore | @grace |  | HW-2 |\n"
    )


async def test_what_is_published_ends_the_chase_and_only_a_new_row_is_filed_later(world, google):
    await resolved(world)
    fill_in(google, ("Alert on depth", "@ada", ""))
    google.move(the_document(google), google.published)
    await world.move("2d")
    assert [run["state"] for run in world.runs("postmortem")] == ["finished"]
    assert world.effects("chat.nudge") == []
    assert len(world.events("document.published")) == 1
    fill_in(google, ("Test the restore", "@grace", ""))
    await world.move("6m")
    assert sorted(one.title for one in world.subjects("ticket")) == ["Alert on depth", "Test the restore"]


async def test_a_row_that_cannot_be_filed_keeps_no_other_from_it_and_its_owner_hears_of_it(world, google):
    await resolved(world)
    fill_in(google, ("Alert on depth", "@ada", ""), ("Too long " * 60, "@grace", ""))
    google.move(the_document(google), google.published)
    await world.move("6m")
    assert [one.title for one in world.subjects("ticket")] == ["Alert on depth"]
    assert "| Alert on depth | @ada |  | HW-1 |\n" in text_of(google)
    (nudge,) = [one for one in world.effects("chat.nudge") if "Not filed from" in one["inputs"]["text"]]
    assert (nudge["inputs"]["to"].id, "Too long Too long" in nudge["inputs"]["text"]) == ("ada", True)
    assert [run["state"] for run in world.runs("action-items")] == ["finished"]
