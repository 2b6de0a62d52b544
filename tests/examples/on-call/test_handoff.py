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
