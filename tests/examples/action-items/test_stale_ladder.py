"""Stale action items climb a ladder, and what moves does not."""

from __future__ import annotations

from engine.plugins import Fact

ROW = "| Alert before the queue is full | linus | 2026-12-31 | |"


async def test_the_assignee_is_asked_on_the_first_morning_after_a_week_and_not_before(example):
    await example.postmortem(ROW)
    await example.move_to_day(9, 20)
    assert example.asked("linus") == []
    await example.move_to_day(10, 10)
    assert example.asked("linus") == [
        "HW-1 Alert before the queue is full has not moved for 7 days 22 h. What is in the way?"
    ]


async def test_silence_and_a_call_for_help_climb(example):
    await example.postmortem(ROW)
    await example.move_to_day(12, 12)  # two working days without an answer
    assert len(example.asked("grace")) == 1
    await example.answers("grace", "help")
    assert (len(example.asked("mary")), example.tickets["HW-1"].done) == (1, False)
    await example.answers("mary", "drop")
    assert example.tickets["HW-1"].done
    assert example.events("ticket.commented") == []
    assert example.events("ticket.closed")[0].data["comment"] == "Not worth doing, says Mary."


async def test_an_answer_ends_the_climb_and_is_written_to_the_ticket(example):
    await example.postmortem(ROW)
    await example.move_to_day(10, 12)
    await example.answers("linus", "doing")
    await example.move("3d")
    assert (example.asked("grace"), example.states("stale-ladder")) == ([], ["finished"])
    assert "Linus says: nothing" in example.events("ticket.commented")[0].data["comment"]


async def test_a_ticket_that_moves_meanwhile_asks_nobody_further(example):
    await example.postmortem(ROW)
    await example.move_to_day(10, 12)
    await example.does("linus", "comment_ticket", ticket="HW-1", text="A first version is out.")
    await example.move("5d")
    assert (example.asked("grace"), example.states("stale-ladder")) == ([], ["stopped"])


async def test_who_works_elsewhere_is_asked_in_the_morning_there(example):
    await example.postmortem("| Limit the retries | edith | 2026-12-31 | |")
    await example.move_to_day(10, 12, 59)
    assert example.asked("edith") == []
    await example.move_to_day(10, 13, 1)  # 09:01 in New York
    assert len(example.asked("edith")) == 1


async def test_what_is_only_talked_about_comes_round_again_after_two_weeks_and_not_before(example):
    await example.postmortem(ROW)
    await example.move_to_day(10, 12)
    await example.answers("linus", "doing")
    await example.move_to_day(23, 7)
    assert len(example.asked("linus")) == 1
    await example.move_to_day(24, 10)
    assert len(example.asked("linus")) == 2


async def test_a_ticket_of_no_postmortem_may_lie(example):
    await example.does("ada", "create_ticket", title="Some day", assignee="linus")
    await example.move_to_day(27, 12)
    assert (example.asked("linus"), example.runs("stale-ladder")) == ([], [])


async def test_a_ticket_that_another_workflow_closes_meanwhile_asks_nobody_further(example):
    await example.postmortem(ROW)
    await example.move_to_day(10, 12)
    closed = {"done": True, "closed_at": example.now}
    await example.happens("local", Fact("ticket.closed", example.now, "ticket", "local:HW-1", closed, own=True))
    await example.move("5d")
    assert (example.asked("grace"), example.states("stale-ladder")) == ([], ["stopped"])


async def test_what_nobody_owns_is_put_to_the_lead_of_its_team_or_of_sre(example):
    await example.postmortem("| Alert before the queue is full | | 2026-12-31 | |")
    await example.does("ada", "create_ticket", title="Some day", labels=("postmortem",), team="payments")
    await example.does("ada", "create_ticket", title="Other day", labels=("postmortem",))
    await example.move_to_day(10, 12)
    asked = [[text.split()[0] for text in example.asked(who)] for who in ("grace", "joan")]
    assert asked == [["HW-1", "HW-3"], ["HW-2"]]


async def test_the_climb_ends_where_there_is_nobody_above(example):
    await example.postmortem("| Limit the retries | joan | 2026-12-31 | |")
    await example.move_to_day(20, 12)
    assert [len(example.asked(who)) for who in ("joan", "mary")] == [1, 1]
    assert example.states("stale-ladder") == ["finished"]
