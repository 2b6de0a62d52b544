"""The example project, run through three weeks of a clock that moves."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import wiring
from engine.testing import RecordingChat, World

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "first-steps"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # 10:00 in Prague; ada is on call
INCIDENT = "local:INC-1"
ROW = "| Alert before the queue is full | linus | 2026-03-31 | |\n"


@pytest.fixture
def chat():
    return RecordingChat()


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(EXAMPLE, tmp_path / "project", ignore=shutil.ignore_patterns(".hotwash", "documents"))


@pytest.fixture
async def world(folder, chat):
    async with World(folder, MONDAY, wiring.open_application, providers={"console": chat}) as world:
        yield world


async def resolved(world, severity="sev1"):
    await world.incident("declared", INCIDENT, title="Checkout is slow", severity=severity, services=("checkout",))
    await world.move("40m")
    await world.incident("resolved", INCIDENT)
    await world.move("20m")


def publish(folder, row=""):
    (report,) = (folder / "documents").glob("*.md")
    report.write_text(report.read_text("utf-8").replace("status: draft", "status: published") + row, "utf-8")


async def test_a_bad_incident_that_stays_resolved_leaves_a_report_and_who_writes_it(world, folder, chat):
    await resolved(world)
    (report,) = (folder / "documents").glob("*.md")
    assert "resolved\nafter 40 min.\n" in report.read_text("utf-8")
    (incident,) = world.subjects("incident")
    assert incident.roles["report_writer"].id == "ada"
    assert len(chat.to("ada")) == 1


async def test_a_small_incident_leaves_nothing(world, folder):
    await resolved(world, severity="sev3")
    assert world.runs() == []
    assert not list(folder.glob("documents/*"))


async def test_the_writer_is_reminded_on_the_third_business_day_and_not_before(world, chat):
    await resolved(world)
    await world.move("2d")
    assert len(chat.to("ada")) == 1
    await world.move("1d")
    assert chat.to("ada")[1:] == ["The report of Checkout is slow is still a draft."]


async def test_a_published_report_reminds_nobody_and_files_each_row_once(world, folder, chat):
    await resolved(world)
    publish(folder, ROW)
    await world.move("1d")
    publish(folder, "\nA closing word.\n")
    await world.move("4d")
    assert len(chat.to("ada")) == 1
    assert len(world.runs("file-action-items")) == 2
    assert [(ticket.key, ticket.assignee.id) for ticket in world.subjects("ticket")] == [("HW-1", "linus")]
    (report,) = (folder / "documents").glob("*.md")
    assert "HW-1" in report.read_text("utf-8")


async def test_a_ticket_is_asked_about_after_a_week_and_closed_where_it_is_not_worth_it(world, folder, chat):
    await resolved(world)
    publish(folder, ROW)
    await world.move("6d")
    assert chat.to("linus") == []
    await world.move("3d")
    assert len(chat.to("linus")) == 1
    await world.answer("drop", by="linus")
    assert [ticket.done for ticket in world.subjects("ticket")] == [True]
    assert [run["state"] for run in world.runs("ask-about-old-tickets")] == ["finished"]


async def test_the_story_survives_a_crash_in_the_middle(world, folder, chat):
    await resolved(world)
    await world.crash()
    await world.restart()
    await world.move("4d")
    assert len(chat.to("ada")) == 2
    assert len(list((folder / "documents").glob("*.md"))) == 1
    assert [run["state"] for run in world.runs("report")] == ["finished"]
