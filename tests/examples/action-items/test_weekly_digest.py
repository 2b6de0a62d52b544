"""Weekly digest: one message on Monday at nine for each team that has something open."""

from __future__ import annotations

ALERT = "| Alert before the queue is full | linus | 2026-03-08 | |"
LIMIT = "| Limit the retries | edith | 2026-12-31 | |"


async def test_each_team_hears_of_its_own_open_items_on_monday_morning(example):
    await example.postmortem(ALERT, LIMIT)
    await example.move_to_day(9, 7, 59)  # 08:59 in Prague
    assert example.said("#sre") == []
    await example.move_to_day(9, 8, 1)
    (sre,), (payments,) = example.said("#sre"), example.said("#payments")
    assert sre.startswith("**Open action items of sre: 1**\n\nLinus:\n\n- HW-1 Alert before the queue is full, due")
    assert "(overdue)" in sre
    assert "HW-2 Limit the retries" in payments
    assert "(overdue)" not in payments


async def test_a_team_without_open_items_is_left_in_peace(example):
    await example.postmortem(ALERT)
    await example.does("linus", "close_ticket", ticket="HW-1")
    await example.move("14d")
    assert (example.said("#sre"), example.said("#payments")) == ([], [])
    assert len(example.runs("weekly-digest")) == 2


async def test_what_belongs_to_no_team_is_told_to_all_and_what_is_no_action_item_to_nobody(example):
    await example.does("ada", "create_ticket", title="Some day", labels=("postmortem",))
    await example.does("ada", "create_ticket", title="Order pizza", assignee="linus")
    await example.move_to_day(9, 8, 1)
    (told,) = example.said("#incidents")
    assert told.startswith("**Open action items of no team: 1**\n\nNobody yet:\n\n- HW-1 Some day")
    assert example.said("#sre") == []
