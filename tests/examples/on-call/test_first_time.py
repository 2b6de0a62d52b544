"""First time on call: a checklist, once for each newcomer, and somebody who is around."""

from __future__ import annotations


async def first_shift_of_edith(example):
    await example.move_to_day(16, 8, 1)  # after linus and ada


async def test_a_newcomer_gets_the_checklist_and_the_manager_knows(example):
    await first_shift_of_edith(example)
    (checklist,) = example.said("edith", by="first-time")
    assert "Grace is around today" in checklist
    assert example.said("grace") == ["Edith is on call for the first time. Please be around today."]
    await example.answers("edith", "done")
    assert len(example.said("grace")) == 1


async def test_a_checklist_that_is_not_done_reaches_the_manager(example):
    await first_shift_of_edith(example)
    await example.move("1d")
    assert example.said("grace")[1] == "Edith has not answered about the checklist of the first shift."


async def test_the_second_shift_is_no_first_one(example):
    await first_shift_of_edith(example)
    await example.move("21d")
    assert len(example.said("edith", by="first-time")) == 1


async def test_the_seasoned_get_none(example):
    await example.move_to_day(15, 12)
    assert (example.said("ada", by="first-time"), example.runs("first-time")) == ([], [])
