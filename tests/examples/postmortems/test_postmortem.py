"""A postmortem, and somebody who writes it: people are asked down a chain until one accepts."""

from __future__ import annotations

CHAIN = "ask-down-a-chain"


async def owner(example):
    (incident,) = example.subjects("incident")
    return incident.roles.get("postmortem_owner")


async def test_the_next_in_the_chain_is_asked_when_somebody_declines_or_keeps_silent(example):
    await example.declare()
    await example.resolve()
    assert (len(example.asked("linus")), example.asked("grace")) == (1, [])
    await example.answers("linus", "no")
    assert len(example.asked("grace")) == 1
    await example.move("5h")
    assert len(example.asked("mary")) == 1
    await example.answers("mary", "yes")
    assert (await owner(example)).id == "mary"


async def test_whoever_accepts_ends_the_asking_and_is_announced(example):
    await example.declare()
    await example.engine_says(roles={"commander": example.person("ada")})
    await example.resolve()
    await example.answers("ada", "yes")
    await example.move("7d")
    assert (example.asked("linus"), example.asked("grace")) == ([], [])
    assert [text.partition(":")[0] for text in example.said("#sre")] == ["Ada owns the postmortem of Checkout is slow"]


async def test_nobody_is_asked_twice_and_a_chain_without_an_end_is_told_to_the_team(example):
    await example.declare()
    await example.resolve()
    await example.move("3d")
    assert [len(example.asked(who, by=CHAIN)) for who in ("linus", "grace", "mary")] == [1, 1, 1]
    assert "still looks for an owner" in example.said("#sre")[0]
    assert await owner(example) is None


async def test_a_small_incident_or_a_drill_leaves_nothing(example):
    await example.declare(severity="sev3")
    await example.resolve("INC-1")
    await example.declare(drill=True)
    await example.resolve("INC-2")
    await example.move("14d")
    assert (example.documents, example.runs("postmortem")) == ([], [])


async def test_a_reopened_incident_asks_nobody_further_and_begins_anew_with_the_same_document(example):
    await example.declare()
    await example.resolve()
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("1d")
    assert (example.states("postmortem"), example.asked("grace")) == (["stopped"], [])
    await example.resolve()
    assert len(example.asked("linus")) == 2
    assert example.documents == ["Postmortem: Checkout is slow"]


async def test_an_incident_that_is_resolved_for_a_few_minutes_only_leaves_nothing(example):
    await example.declare()
    await example.resolve(stays="14m")
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("7d")
    assert (example.documents, example.runs()) == ([], [])


async def test_the_chain_and_the_channel_are_those_of_the_incident_s_team(example):
    await example.declare("Login is slow", services=("login",))
    await example.resolve()
    for who in ("linus", "whit", "mary"):
        await example.answers(who, "no")
    assert (example.asked("grace"), example.said("#sre")) == ([], [])
    assert "still looks for an owner" in example.said("#security")[0]


async def test_an_incident_of_no_team_is_asked_about_down_the_chain_of_sre(example):
    await example.declare("Something is slow", services=())
    await example.resolve()
    await example.answers("linus", "no")
    assert "Will you own the postmortem of Something is slow?" in example.asked("grace")[0]
