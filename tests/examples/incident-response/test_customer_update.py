"""Two people approve a customer update, in rounds; one alone does not."""

from __future__ import annotations

TEXT = "Checkout is slow. We are on it."


async def start(example, *, text=TEXT, again=False, author="ada"):
    inputs = {"author": author, "text": text}
    await example.does(
        "ada", "start_workflow", workflow="customer-update", incident="INC-1", inputs=inputs, again=again
    )


async def started(example):
    await example.declare()
    await start(example)


async def test_what_both_approve_is_published_and_noted(example):
    await started(example)
    await example.answers("joan", "approve")
    assert example.said("#customers") == []
    await example.answers("linus", "approve")
    assert example.said("#customers") == [TEXT]


async def test_one_who_wants_a_change_is_enough_to_keep_it_back(example):
    await started(example)
    await example.answers("joan", "approve")
    await example.answers("linus", "change")
    assert (example.said("#customers"), example.said("ada")) == ([], ["Not published: Linus wants a change."])


async def test_who_keeps_silent_is_asked_in_three_rounds_and_who_answered_is_not(example):
    await started(example)
    await example.answers("joan", "approve")
    await example.move("41m")
    assert [text.partition(":")[0] for text in example.asked("linus")] == ["Round 1", "Round 2", "Round 3"]
    assert len(example.asked("joan")) == 1
    await example.move("20m")
    assert (example.said("#customers"), example.said("ada")) == ([], ["Not published: Linus did not answer."])


async def test_a_new_wording_is_approved_anew(example):
    await started(example)
    await example.answers("linus", "change")
    await example.answers("joan", "approve")
    await start(example, text="Checkout is slow for some.", again=True)
    await example.answers("linus", "approve")
    await example.answers("joan", "approve")
    assert example.said("#customers") == ["Checkout is slow for some."]


async def test_a_newer_wording_takes_the_place_of_one_that_is_still_looked_at(example):
    await started(example)
    await example.answers("joan", "approve")
    await start(example, text="Checkout is slow for some.", again=True)
    assert example.states("customer-update") == ["cancelled", "waiting"]
    await example.answers("linus", "approve")
    await example.answers("joan", "approve")
    assert example.said("#customers") == ["Checkout is slow for some."]


async def test_the_author_approves_nothing(example):
    await example.declare()
    await start(example, author="linus")
    assert (example.asked("linus"), len(example.asked("ada")), len(example.asked("joan"))) == ([], 1, 1)
