"""Two incidents, one cause? Somebody is asked, and the two are merged on a yes only."""

from __future__ import annotations


async def two(example, *, apart="5m", **more):
    await example.declare()
    await example.engine_says(roles={"commander": example.person("ada")})
    await example.engine_says(channel="#inc-1")
    await example.move(apart)
    await example.declare("Search is slow", services=("search",), **more)


def open_ones(example):
    return [one.key for one in example.subjects("incident") if example.is_open(one)]


async def test_whoever_leads_the_older_one_is_asked_and_a_yes_merges_the_two(example):
    await two(example)
    assert example.asked("ada") == [
        "INC-2 Search is slow was declared while INC-1 Checkout is slow is open. Have they one cause?"
    ]
    await example.answers("ada", "one")
    assert open_ones(example) == ["INC-1"]
    assert example.said("#inc-1") == ["INC-2 Search is slow has the same cause, says Ada: it goes on as INC-1."]


async def test_a_no_and_silence_leave_them_two(example):
    await two(example)
    await example.answers("ada", "two")
    await example.declare("Login is slow")
    await example.move("25m")
    assert (open_ones(example), example.said("#inc-1")) == (["INC-1", "INC-2", "INC-3"], [])
    assert example.states("one-cause") == ["finished", "finished", "finished"]


async def test_nobody_is_asked_about_one_alone_one_long_after_or_a_drill(example):
    await two(example, apart="31m")
    await example.declare("Practice", drill=True)
    assert (example.asked("ada"), example.asked("linus")) == ([], [])


async def test_one_that_is_over_before_the_answer_is_not_merged(example):
    await two(example)
    await example.does("ada", "resolve_incident", incident="INC-2")
    assert example.states("one-cause") == ["finished", "stopped"]


async def test_one_that_an_alert_declared_is_asked_about(example):
    await example.declare()
    await example.fires("SearchIsDown", lasts=None, severity="sev1", service="search")
    await example.move("3m")
    assert len(example.asked("linus", by="one-cause")) == 1


async def test_one_that_is_over_and_a_drill_are_no_cause(example):
    await example.declare()
    await example.does("ada", "resolve_incident", incident="INC-1")
    await example.declare("Practice", drill=True)
    await example.declare("Search is slow", services=("search",))
    assert example.asked("linus", by="one-cause") == []
    assert [run["reason"] for run in example.runs("one-cause")] == ["no other is open"] * 2
