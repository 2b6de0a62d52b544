"""A severity is lowered: those who asked to be told hear of it."""

from __future__ import annotations


async def subscribed(example):
    await example.declare()
    await example.engine_says(subscribers=(example.person("joan"), example.person("grace")))


async def test_subscribers_hear_that_it_is_less_bad_than_was_thought(example):
    await subscribed(example)
    await example.updates(severity="sev3")
    told = "INC-1 Checkout is slow is sev3 now; it was thought to be sev1."
    assert (example.said("joan"), example.said("grace"), example.said("ada")) == ([told], [told], [])


async def test_a_raised_or_another_change_tells_nobody_here(example):
    await subscribed(example)
    await example.updates(severity="sev0")
    await example.updates(title="Checkout is down")
    assert (example.said("joan"), example.runs("severity-lowered")) == ([], [])


async def test_once_it_is_over_its_severity_is_a_matter_for_the_files(example):
    await subscribed(example)
    await example.resolve()
    await example.updates(severity="sev4")
    assert example.said("joan") == []
