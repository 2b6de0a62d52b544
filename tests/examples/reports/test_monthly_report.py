"""Monthly report: medians of the month's incidents on the first, and nothing where there were none."""

from __future__ import annotations

from datetime import UTC, datetime

FIRST_OF_APRIL = datetime(2026, 4, 1, 7, 1, tzinfo=UTC)  # 09:01 in Prague, in summer time by then


async def incidents(example, *lasting, severity="sev1", **more):
    for number, length in enumerate(lasting, len(example.subjects("incident")) + 1):
        await example.declare(f"Incident {number}", severity=severity, **more)
        await example.resolve(f"INC-{number}", after=length)


async def report(example):
    await example.move_to(FIRST_OF_APRIL)
    return example.document("incidents").read_text("utf-8")


async def test_the_report_gives_the_median_of_each_severity(example):
    await incidents(example, "20m", "40m", "9h")
    await incidents(example, "10m", severity="sev2")
    text = await report(example)
    assert "| sev1 | 3 | – | – | 40 min |\n| sev2 | 1 | – | – | 10 min |" in text
    assert example.said("#sre")[0].startswith("Incidents of the last month: 4, median time to resolve 30 min: ")
    assert "status: published\n" in text
    assert "shared_with:\n- mary\n" in text


async def test_it_says_what_came_of_them(example):
    await incidents(example, "20m")
    for title in ("Alert before the queue is full", "Limit the retries"):
        await example.does("ada", "create_ticket", title=title, labels=("postmortem",), assignee="linus")
    await example.does("linus", "close_ticket", ticket="HW-1")
    text = await report(example)
    assert "1 of 2 action items are done.\n\n- HW-2 Limit the retries, Linus" in text


async def test_drills_and_what_is_private_are_left_out(example):
    await incidents(example, "20m")
    await incidents(example, "9h", drill=True)
    await incidents(example, "9h", private=True)
    assert "Incidents: 1." in await report(example)


async def test_a_month_without_an_incident_makes_no_report(example):
    await incidents(example, "20m", drill=True)
    await example.move_to(FIRST_OF_APRIL)
    assert (example.documents, example.said("#sre")) == ([], [])
    assert [run["reason"] for run in example.runs("monthly-report")] == ["a month without an incident"]


async def test_whoever_does_not_want_to_wait_starts_it_by_hand(example):
    await incidents(example, "20m")
    await example.does("ada", "start_workflow", workflow="monthly-report")
    assert "Incidents: 1." in example.document("incidents").read_text("utf-8")


async def test_a_duplicate_and_what_is_of_another_month_are_not_in_it(example):
    await incidents(example, "20m")
    await example.does("ada", "create_ticket", title="Old and open", labels=("postmortem",))
    await example.does("ada", "create_ticket", title="Old and done", labels=("postmortem",))
    await example.does("ada", "close_ticket", ticket="HW-2")
    await example.move_to(FIRST_OF_APRIL)
    await incidents(example, "40m")
    await example.declare("The same", severity="sev1")
    await example.does("ada", "merge_incident", incident="INC-3", into="INC-2")
    await example.does("ada", "create_ticket", title="Order pizza")
    await example.does("ada", "create_ticket", title="Alert before the queue is full", labels=("postmortem",))
    await example.does("ada", "create_ticket", title="Clean up")
    await example.does("ada", "close_ticket", ticket="HW-5")
    await example.move_to(datetime(2026, 5, 1, 7, 1, tzinfo=UTC))
    (text,) = (one for one in texts(example) if "Alert before the queue is full" in one)
    assert "Incidents: 1." in text
    assert "0 of 1 action items are done.\n\n- HW-4 Alert before the queue is full\n" in text
    assert "HW-1" not in text
    assert "HW-3" not in text


def texts(example):
    return [path.read_text("utf-8") for path in (example.folder / "documents").glob("*.md")]
