"""An action item comes due: its assignee is reminded before, the lead asked after."""

from __future__ import annotations

ROW = "| Alert before the queue is full | linus | 2026-03-12 | |"  # a Thursday


async def test_the_assignee_is_reminded_two_working_days_before_and_not_earlier(example):
    await example.postmortem(ROW)
    await example.move_to_day(10, 12)
    assert example.said("linus") == []
    await example.move_to_day(11, 12)
    assert example.said("linus") == ["HW-1 Alert before the queue is full is due Thu 12 Mar 2026 23:59 CET."]


async def test_a_reminder_comes_in_the_working_hours_of_whom_it_goes_to(example):
    await example.postmortem("| Limit the retries | edith | 2026-03-12T10:00+01:00 | |")
    await example.move_to_day(10, 14, 59)  # two hours after 09:00 in New York, where summer time has begun
    assert example.said("edith") == []
    await example.move_to_day(10, 15, 1)
    assert example.said("edith") == ["HW-1 Limit the retries is due Thu 12 Mar 2026 05:00 EDT."]


async def test_what_is_due_on_one_day_is_one_message_without_what_is_done_by_then(example):
    await example.postmortem(ROW, ROW.replace("Alert", "Warn"), ROW.replace("Alert", "Shout"))
    await example.move_to_day(11, 9)  # an hour into the window
    await example.does("linus", "close_ticket", ticket="HW-2")
    await example.move_to_day(11, 12)
    (message,) = example.said("linus")
    assert ("HW-1" in message, "HW-2" in message, "HW-3" in message) == (True, False, True)


async def test_the_lead_may_give_two_weeks_more_after_which_it_comes_round_again(example):
    await example.postmortem(ROW)
    await example.move_to_day(16, 12)
    await example.answers("grace", "later")
    assert (f"{example.tickets['HW-1'].due:%m-%d}", example.tickets["HW-1"].done) == ("03-30", False)
    await example.move("14d")
    assert len(example.said("linus")) == 2


async def test_silence_changes_nothing(example):
    await example.postmortem(ROW)
    await example.move_to_day(24, 12)
    assert (len(example.asked("grace", by="due")), example.states("due")) == (1, ["finished"])
    assert (f"{example.tickets['HW-1'].due:%m-%d}", example.tickets["HW-1"].done) == ("03-12", False)


async def test_what_is_not_worth_doing_is_closed_with_who_said_so(example):
    await example.postmortem(ROW)
    await example.move_to_day(16, 12)
    await example.answers("grace", "drop")
    assert example.tickets["HW-1"].done
    (closed,) = example.events("ticket.closed")
    assert closed.data["comment"] == "Not worth doing, says Grace."
    assert f"{example.tickets['HW-1'].due:%m-%d}" == "03-12"


async def test_what_is_done_reminds_nobody(example):
    await example.postmortem(ROW)
    await example.does("linus", "close_ticket", ticket="HW-1")
    await example.move("60d")
    assert (example.said("linus"), example.asked("grace")) == ([], [])
    assert example.states("due") == ["stopped"]


async def test_what_has_no_date_or_comes_of_no_postmortem_is_left_alone(example):
    await example.does("ada", "create_ticket", title="Some day", labels=("postmortem",), assignee="linus")
    await example.does("ada", "create_ticket", title="Order pizza", due="2026-03-12", assignee="linus")
    await example.move_to_day(20, 12)
    assert (example.said("linus"), example.runs("due")) == ([], [])


async def test_what_nobody_owns_is_the_lead_s_of_its_team(example):
    await example.postmortem(ROW.replace("linus", ""))
    await example.move_to_day(11, 12)
    assert (len(example.said("grace")), example.tickets["HW-1"].assignee) == (1, None)


async def test_the_lead_of_the_team_is_asked_and_that_of_sre_where_there_is_no_team(example):
    await example.postmortem("| Limit the retries | edith | 2026-03-12T10:00+01:00 | |")
    await example.does("ada", "create_ticket", title="Some day", labels=("postmortem",), due="2026-03-12T10:00+01:00")
    await example.move_to_day(13, 14)
    asked = [[text.split()[0] for text in example.asked(who, by="due")] for who in ("joan", "grace")]
    assert (asked, example.tickets["HW-2"].team) == ([["HW-1"], ["HW-2"]], None)
