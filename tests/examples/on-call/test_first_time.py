"""First time on call: a checklist, once for each newcomer, and somebody who is around."""

from __future__ import annotations

import pytest


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


ANOTHER = (
    ('channel: "#sre", rotation: default}', 'channel: "#sre", rotation: default}\n  web: {lead: ada, rotation: web}'),
    ("rotations:\n", 'rotations:\n  web: {members: [grace, edith], every: 7d, from: "2026-03-02T09:00"}\n'),
)


async def test_who_comes_on_call_for_another_team_is_welcomed_by_that_team(example):
    await example.rewrite("people.yaml", *ANOTHER)
    await example.move_to_day(9, 8, 1)  # edith is on call for web from now on
    assert (example.said("edith"), example.runs("first-time")) == ([], [])


async def test_every_newcomer_gets_one(example):
    await example.rewrite("hotwash.yaml", ("seasoned: [linus, ada]", "seasoned: [linus]"))
    await example.move_to_day(31, 12)
    assert [len(example.said(who, by="first-time")) for who in ("linus", "ada", "edith")] == [0, 1, 1]


@pytest.mark.parametrize(("manager", "buddy"), [(", manager: ada", "ada"), ("", "grace")])
async def test_who_is_around_is_the_manager_or_else_the_lead(example, manager, buddy):
    await example.rewrite("people.yaml", ("edith@example.com, manager: grace", f"edith@example.com{manager}"))
    await first_shift_of_edith(example)
    assert "Edith is on call for the first time. Please be around today." in example.said(buddy)


async def test_who_is_stuck_is_helped(example):
    await first_shift_of_edith(example)
    await example.answers("edith", "stuck")
    assert example.said("grace")[1] == "Edith is stuck with the checklist of the first shift."
