"""Handoff summary at a change of shift."""

from __future__ import annotations


async def test_the_change_of_shift_is_told_with_what_is_open_and_what_fired(example):
    await example.fires()
    await example.declare()
    await example.move_to_day(9, 8, 1)  # linus leaves, ada comes
    (summary,) = example.said("#sre", by="handoff")
    assert summary.startswith("**Linus hands over to Ada.** In the last seven days: incidents 1, alerts 1.")
    assert "- open: INC-1 Checkout is slow (sev1), untouched for" in summary


async def test_whoever_leaves_may_have_more_to_tell(example):
    await example.declare()
    await example.move_to_day(9, 8, 1)
    await example.answers("linus", "call")
    assert "Linus has more to tell about what is open and will call you." in example.said("ada")


async def test_whoever_has_told_everything_bothers_nobody(example):
    await example.declare()
    await example.move_to_day(9, 8, 1)
    await example.answers("linus", "all")
    assert (example.said("ada"), example.states("handoff")) == ([], ["finished"])


async def test_a_quiet_shift_is_one_message_and_asks_nobody(example):
    await example.declare()
    await example.resolve()
    await example.move_to_day(9, 8, 1)
    assert "Nothing is open." in example.said("#sre")[0]
    assert example.asked("linus") == []


async def test_nothing_is_handed_over_before_the_shift_ends_or_twice(example):
    await example.declare()
    await example.move_to_day(9, 7, 59)
    assert example.said("#sre") == []
    await example.restart()
    await example.move_to_day(15, 12)
    await example.restart()
    assert len(example.said("#sre", by="handoff")) == 1


async def test_what_is_private_is_not_in_it(example):
    await example.declare("Tokens leaked", private=True)
    await example.move_to_day(9, 8, 1)
    assert "Tokens" not in example.said("#sre")[0]


async def test_what_is_mended_is_no_longer_being_worked_on(example):
    for title in ("QueueIsFull fired 3 times in a week", "DiskIsFull fired 4 times in a week"):
        await example.does("ada", "create_ticket", title=title, labels=("noisy-alert",))
    await example.does("ada", "close_ticket", ticket="HW-2")
    await example.move_to_day(9, 8, 1)
    (summary,) = example.said("#sre", by="handoff")
    assert "- being worked on: HW-1 QueueIsFull fired 3 times in a week" in summary
    assert "HW-2" not in summary


async def test_from_nobody_and_to_nobody_is_told_and_nobody_is_asked(example):
    await example.declare()
    await example.rewrite("people.yaml", ('from: "2026-03-02T09:00"', 'from: "2026-03-09T09:00"'))
    await example.move_to_day(9, 8, 1)
    first, second = example.said("#sre", by="handoff")
    assert first.startswith("**Linus hands over to nobody.**")
    assert second.startswith("**nobody hands over to Linus.**")
    assert (example.asked("linus"), example.states("handoff")) == ([], ["finished", "finished"])


async def test_silence_for_four_hours_is_taken_for_all_there_is_to_know(example):
    await example.declare()
    await example.move_to_day(9, 11, 59)
    assert example.states("handoff") == ["waiting"]
    await example.move_to_day(9, 12, 1)
    assert (example.states("handoff"), example.said("ada")) == (["finished"], [])
