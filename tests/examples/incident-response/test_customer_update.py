"""Two people approve a customer update, in rounds; one alone does not."""

from __future__ import annotations

import pytest

from engine.operations import OperationError

TEXT = "Checkout is slow. We are on it."
OTHER = "Checkout is slow for some."


async def start(example, *, text=TEXT, again=False, author="ada", incident="INC-1", **more):
    inputs = {"author": author, "text": text, **more}
    await example.does(
        "ada", "start_workflow", workflow="customer-update", incident=incident, inputs=inputs, again=again
    )


async def started(example, **more):
    await example.declare()
    await start(example, **more)


async def both_approve(example):
    await example.answers("joan", "approve")
    await example.answers("linus", "approve")


def told(example, incident=0):
    """Give what customers can read of an incident, oldest first, but for the first words, which are always the same."""
    entry = example.subjects("incident")[incident].status_page
    return [] if entry is None else example.on_the_page(entry)[1:]


async def test_what_both_approve_is_published_and_noted(example):
    await started(example)
    await example.answers("joan", "approve")
    assert told(example) == []
    await example.answers("linus", "approve")
    assert told(example) == [TEXT]
    (incident,) = example.subjects("incident")
    assert f"Customers were told: {TEXT}" in example.timeline(incident)
    assert (incident.status_page.state, incident.status_page.impact) == ("investigating", "major")
    assert example.said("#support") == [
        f"Customers can read this about Checkout is slow now: “{TEXT}” {incident.status_page.url}"
    ]


async def test_the_author_says_how_far_it_is_and_silence_leaves_it_as_it_was(example):
    await started(example, state="monitoring")
    await both_approve(example)
    assert example.subjects("incident")[0].status_page.state == "monitoring"
    await start(example, text=OTHER, again=True)
    await both_approve(example)
    assert (example.subjects("incident")[0].status_page.state, told(example)) == ("monitoring", [TEXT, OTHER])


async def test_an_incident_that_customers_have_not_heard_of_gets_its_entry_with_the_update(example):
    await example.declare(severity="sev2")
    await start(example, state="identified")
    assert example.subjects("incident")[0].status_page is None
    await both_approve(example)
    entry = example.subjects("incident")[0].status_page
    assert (entry.title, entry.state, entry.components) == (
        "Checkout is slow",
        "identified",
        {"checkout": "degraded_performance"},
    )
    assert example.on_the_page(entry) == [TEXT]


async def test_without_a_word_on_how_far_it_is_a_new_entry_is_being_looked_into(example):
    await example.declare(severity="sev2")
    await start(example)
    await both_approve(example)
    assert example.subjects("incident")[0].status_page.state == "investigating"


async def test_one_who_wants_a_change_is_enough_to_keep_it_back(example):
    await started(example)
    await example.answers("joan", "approve")
    await example.answers("linus", "change")
    assert (told(example), example.said("ada"), example.said("#support")) == (
        [],
        ["Not published: Linus wants a change."],
        [],
    )


async def test_who_keeps_silent_is_asked_in_three_rounds_and_who_answered_is_not(example):
    await started(example)
    await example.answers("joan", "approve")
    await example.move("41m")
    assert [text.partition(":")[0] for text in example.asked("linus", by="customer-update")] == [
        "Round 1",
        "Round 2",
        "Round 3",
    ]
    assert len(example.asked("joan")) == 1
    await example.move("20m")
    assert (told(example), example.said("ada")) == ([], ["Not published: Linus did not answer."])


async def test_a_new_wording_is_approved_anew(example):
    await started(example)
    await example.answers("linus", "change")
    await example.answers("joan", "approve")
    await start(example, text=OTHER, again=True)
    await both_approve(example)
    assert told(example) == [OTHER]


async def test_a_newer_wording_takes_the_place_of_one_that_is_still_looked_at(example):
    await started(example)
    await example.answers("joan", "approve")
    await start(example, text=OTHER, again=True)
    assert example.states("customer-update") == ["cancelled", "waiting"]
    await both_approve(example)
    assert told(example) == [OTHER]


async def test_an_update_about_another_incident_takes_no_place(example):
    await started(example)
    await example.declare("Search is slow")
    await start(example, text=OTHER, incident="INC-2")
    assert example.states("customer-update") == ["waiting", "waiting"]
    await both_approve(example)
    assert (told(example, 0), told(example, 1)) == ([], [OTHER])


async def test_the_author_approves_nothing(example):
    await example.declare()
    await start(example, author="linus")
    asked = [len(example.asked(who, by="customer-update")) for who in ("linus", "ada", "joan")]
    assert asked == [0, 1, 1]


async def test_where_support_writes_two_others_approve(example):
    await example.declare()
    await start(example, author="joan")
    await example.answers("ada", "approve")
    assert (told(example), example.asked("joan")) == ([], [])
    await example.answers("linus", "approve")
    assert told(example) == [TEXT]


async def test_nothing_of_a_private_incident_is_put_to_anybody_or_told(example):
    await example.declare(private=True)
    await start(example)
    await example.move("1d")
    assert [example.asked(who, by="customer-update") for who in ("joan", "ada", "linus")] == [[], [], []]
    assert example.subjects("incident")[0].status_page is None
    assert [run["reason"] for run in example.runs("customer-update")] == [
        "nothing of a private incident is told outside"
    ]


@pytest.mark.parametrize("missing", ["author", "text"])
async def test_without_an_author_or_a_text_it_does_not_start(example, missing):
    await example.declare()
    given = {name: value for name, value in {"author": "ada", "text": TEXT}.items() if name != missing}
    with pytest.raises(OperationError, match=missing):
        await example.does("ada", "start_workflow", workflow="customer-update", incident="INC-1", inputs=given)


async def test_without_an_incident_it_does_not_start(example):
    with pytest.raises(OperationError, match="incident"):
        await example.does("ada", "start_workflow", workflow="customer-update", inputs={"author": "ada", "text": TEXT})


async def test_who_is_in_both_teams_is_one_of_the_two_and_not_both(example):
    await example.rewrite("people.yaml", ("members: [joan]", "members: [linus, joan]"))
    await started(example)
    assert [len(example.asked(who, by="customer-update")) for who in ("linus", "joan", "grace")] == [1, 0, 1]


async def test_one_person_alone_cannot_approve(example):
    await example.rewrite("people.yaml", ("members: [ada, linus, grace]", "members: [ada]"))
    await started(example)
    assert (example.asked("joan", by="customer-update"), told(example)) == ([], [])
    assert example.states("customer-update") == ["failed"]


@pytest.mark.parametrize("state", ["investigating", "identified", "monitoring", "resolved"])
async def test_each_state_that_an_entry_can_have_may_be_given(example, state):
    await started(example, state=state)
    await both_approve(example)
    assert example.subjects("incident")[0].status_page.state == state
