"""The example project, run through three weeks of a clock that moves."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import wiring
from engine.plugins import Fact
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


async def resolved(world, severity="sev1", stays="20m", **more):
    fields = {"title": "Checkout is slow", "severity": severity, "services": ("checkout",), **more}
    await world.incident("declared", INCIDENT, **fields)
    await world.move("40m")
    await world.incident("resolved", INCIDENT)
    await world.move(stays)


async def ticket(world, key="HW-1", kind="created", **more):
    """Let something become of a ticket, which without more words is a new one of linus, to be followed up."""
    person = world.application.hub.directory.people.person("linus")
    fields = {
        "key": key,
        "title": key,
        "labels": ("follow-up",),
        "assignee": person,
        "done": False,
        "created_at": MONDAY,
    }
    fields |= more
    await world.happens("local", Fact(f"ticket.{kind}", world.now, "ticket", f"local:{key}", fields))


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
    assert "shared_with:\n- ada\n" in report.read_text("utf-8")


async def test_whoever_led_it_writes_the_report(world, chat):
    roles = {"commander": world.application.hub.directory.people.person("linus")}
    await world.happens("local", Fact("incident.updated", MONDAY, "incident", INCIDENT, {"roles": roles}, engine=True))
    await resolved(world)
    assert (len(chat.to("linus")), chat.to("ada")) == (1, [])


async def test_one_that_is_open_again_within_a_quarter_of_an_hour_leaves_nothing(world, folder):
    await resolved(world, stays="14m")
    await world.incident("reopened", INCIDENT)
    await world.move("1d")
    assert (world.runs(), list(folder.glob("documents/*"))) == ([], [])


async def test_one_that_is_open_again_later_reminds_nobody_until_it_is_over_and_keeps_its_report(world, folder, chat):
    await resolved(world)
    await world.incident("reopened", INCIDENT)
    await world.move("6d")
    assert ([run["state"] for run in world.runs()], len(chat.to("ada"))) == (["stopped"], 1)
    await world.incident("resolved", INCIDENT)
    await world.move("1h")
    assert (len(chat.to("ada")), len(list(folder.glob("documents/*")))) == (2, 1)


@pytest.mark.parametrize("more", [{"severity": "sev3"}, {"drill": True}])
async def test_a_small_incident_and_a_drill_leave_nothing(world, folder, more):
    await resolved(world, **more)
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
    publish(folder, ROW + ROW.replace("Alert", "Shout"))
    await world.move("1d")
    publish(folder, "\nA closing word.\n")
    await world.move("4d")
    assert len(chat.to("ada")) == 1
    assert len(world.runs("file-action-items")) == 2
    (document,) = world.subjects("document")
    found = [(one.key, one.assignee.id, f"{one.due:%m-%d}", one.document) for one in world.subjects("ticket")]
    assert found == [(key, "linus", "03-31", document.id) for key in ("HW-1", "HW-2")]
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
    assert world.events("ticket.closed")[0].data["comment"] == "Not worth doing any more, says Linus."
    assert [run["state"] for run in world.runs("ask-about-old-tickets")] == ["finished"]


async def test_the_story_survives_a_crash_in_the_middle(world, folder, chat):
    await resolved(world)
    await world.crash()
    await world.restart()
    await world.move("4d")
    assert len(chat.to("ada")) == 2
    assert len(list((folder / "documents").glob("*.md"))) == 1
    assert [run["state"] for run in world.runs("report")] == ["finished"]


async def test_a_ticket_is_asked_about_at_ten_on_the_working_day_after_its_week(world, chat):
    await world.move("1m")
    await ticket(world, created_at=world.now)
    await world.move_to(MONDAY + timedelta(days=7, hours=23, minutes=59))
    assert chat.sent == []
    await world.move("2m")
    (question,) = chat.sent
    assert (question.to, question.text, question.choices) == (
        "linus",
        "HW-1 HW-1 has not moved for 7 days 23 h. Is it still worth doing?",
        {"keep": "Yes", "drop": "No"},
    )


async def test_a_ticket_without_the_label_may_lie(world, chat):
    await ticket(world, labels=())
    await world.move("30d")
    assert (chat.sent, world.runs()) == ([], [])


async def test_a_ticket_that_nobody_has_is_put_to_the_lead(world, chat):
    await ticket(world, assignee=None)
    await world.move("9d")
    assert len(chat.to("grace")) == 1


async def test_a_yes_and_two_working_days_of_silence_leave_the_ticket_open(world, chat):
    await ticket(world, "HW-1")
    await ticket(world, "HW-2")
    await world.move("7d")
    await world.answer("keep", by="linus")
    await world.move("1d")
    assert sorted(run["state"] for run in world.runs()) == ["finished", "waiting"]
    await world.move("1d")
    assert [run["state"] for run in world.runs()] == ["finished", "finished"]
    assert [one.done for one in world.subjects("ticket")] == [False, False]


async def test_a_question_about_a_ticket_that_is_done_is_over(world):
    await ticket(world)
    await world.move("8d")
    await ticket(world, kind="closed", done=True)
    assert [run["state"] for run in world.runs()] == ["stopped"]


async def test_a_row_is_filed_once_ever_and_one_with_a_ticket_of_its_own_not_at_all(world, folder):
    await resolved(world)
    publish(folder, ROW + ROW.replace("Alert", "Shout").replace("2026-03-31 | |", "2026-03-31 | OPS-7 |"))
    await world.move("1d")
    assert [ticket.title for ticket in world.subjects("ticket")] == ["Alert before the queue is full"]
    (report,) = (folder / "documents").glob("*.md")
    report.write_text(report.read_text("utf-8").replace("HW-1", "") + "\nA closing word.\n", "utf-8")
    await world.move("1d")
    assert (len(world.runs("file-action-items")), len(world.subjects("ticket"))) == (2, 1)


async def test_the_same_row_of_two_reports_is_two_tickets_and_that_of_something_else_none(world, folder):
    await resolved(world)
    publish(folder, ROW)
    (report,) = (folder / "documents").glob("*.md")
    text = report.read_text("utf-8")
    for name, template in (("other", "report"), ("notes", "minutes")):
        other = re.sub(r"(?m)^(id|effect): .*\n", "", text).replace("template: report", f"template: {template}")
        report.with_name(f"{name}.md").write_text(other, "utf-8")
    await world.move("1d")
    assert [ticket.title for ticket in world.subjects("ticket")] == ["Alert before the queue is full"] * 2
    assert len(world.runs("file-action-items")) == 2
