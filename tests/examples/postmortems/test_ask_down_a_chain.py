"""Ask down a chain until somebody accepts: started by hand, and as a piece of other workflows (see the postmortem)."""

from __future__ import annotations

import pytest

from engine.operations import OperationError

QUESTION = "Will you lead the review?"


async def start(example, *people):
    inputs = {"people": ",".join(people), "question": QUESTION}
    await example.does("ada", "start_workflow", workflow="ask-down-a-chain", inputs=inputs)


async def test_by_hand_the_question_goes_from_one_to_the_next_until_a_yes(example):
    await start(example, "linus", "grace", "mary")
    assert (example.asked("linus"), example.asked("grace")) == ([QUESTION], [])
    await example.answers("linus", "no")
    await example.answers("grace", "yes")
    assert (example.asked("mary"), example.states("ask-down-a-chain")) == ([], ["finished"])


async def test_everybody_has_four_hours_from_the_morning_on_where_the_night_comes_between(example):
    await example.move("5h")  # 15:00
    await start(example, "linus", "grace")
    await example.move_to_day(3, 7, 59)
    assert example.asked("grace") == []
    await example.move_to_day(3, 8, 1)
    assert example.asked("grace") == [QUESTION]


async def test_nobody_is_asked_twice_and_the_last_no_is_the_end(example):
    await start(example, "linus", "grace", "linus")
    await example.answers("linus", "no")
    await example.answers("grace", "no")
    assert (len(example.asked("linus")), example.states("ask-down-a-chain")) == (1, ["finished"])


async def test_an_empty_chain_asks_nobody(example):
    await start(example)
    assert [run["reason"] for run in example.runs("ask-down-a-chain")] == ["there is nobody to ask"]


@pytest.mark.parametrize("given", [{"people": "linus"}, {"question": QUESTION}])
async def test_without_people_or_a_question_it_does_not_start(example, given):
    (missing,) = {"people", "question"} - given.keys()
    with pytest.raises(OperationError, match=missing):
        await example.does("ada", "start_workflow", workflow="ask-down-a-chain", inputs=given)
