"""Support is told of bad incidents: it is subscribed to them."""

from __future__ import annotations


def subscribers(example):
    (incident,) = example.subjects("incident")
    return [person.id for person in incident.subscribers]


async def test_support_is_subscribed_to_a_bad_incident_and_hears_when_it_is_less_bad(example):
    await example.declare()
    assert subscribers(example) == ["joan"]
    await example.updates(severity="sev3")
    assert len(example.said("joan")) == 1


async def test_one_that_an_alert_declared_counts_as_well(example):
    await example.fires("CheckoutIsDown", lasts=None, severity="sev1")
    await example.move("3m")
    assert subscribers(example) == ["joan"]


async def test_a_small_incident_is_not_support_s_business(example):
    await example.declare(severity="sev3")
    assert subscribers(example) == []


async def test_a_drill_is_not_either(example):
    await example.declare(drill=True)
    assert subscribers(example) == []
