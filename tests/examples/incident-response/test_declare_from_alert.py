"""A critical alert declares an incident, unless one is open for its service."""

from __future__ import annotations


def incidents(example):
    return [(one.key, one.severity, one.services) for one in example.subjects("incident")]


async def critical(example, *names, service="checkout", lasts="3m", **more):
    for name in names:
        await example.fires(name, lasts=None, severity="sev1", service=service, **more)
    await example.move(lasts)


async def test_a_critical_alert_that_goes_on_declares_an_incident_and_not_before(example):
    await critical(example, "CheckoutIsDown", lasts="1m")
    assert incidents(example) == []
    await example.move("1m")
    assert incidents(example) == [("INC-1", "sev1", ("checkout",))]
    assert example.said("#sre") == ["INC-1 CheckoutIsDown (checkout) is declared; Linus is on call."]


async def test_two_alerts_at_the_same_instant_declare_one(example):
    await critical(example, "CheckoutIsDown", "QueueIsFull")
    assert incidents(example) == [("INC-1", "sev1", ("checkout",))]
    assert [run["reason"] for run in example.runs("declare-from-alert")][1] == "noted in INC-1"


async def test_one_for_a_service_that_has_an_incident_is_a_line_in_its_timeline(example):
    await example.declare()
    await critical(example, "CheckoutIsDown")
    assert len(incidents(example)) == 1
    (incident,) = example.subjects("incident")
    assert "CheckoutIsDown fires, too" in example.timeline(incident)[-1]


async def test_another_service_and_one_whose_incident_is_over_are_another_incident(example):
    await critical(example, "CheckoutIsDown")
    await critical(example, "SearchIsDown", service="search")
    await example.does("ada", "resolve_incident", incident="INC-1")
    await critical(example, "QueueIsFull")
    assert [key for key, _, _ in incidents(example)] == ["INC-1", "INC-2", "INC-3"]


async def test_a_drill_stands_in_for_nothing(example):
    await example.declare(drill=True)
    await critical(example, "CheckoutIsDown")
    assert len(incidents(example)) == 2


async def test_a_warning_and_a_hiccup_declare_nothing(example):
    await example.fires("QueueIsSlow", lasts="1h")
    await example.fires("CheckoutIsDown", lasts="1m", severity="sev1")
    await example.move("1d")
    assert (incidents(example), example.said("#sre")) == ([], [])


async def test_an_alert_that_has_ended_while_it_waited_for_its_turn_is_not_worth_a_line(example):
    await example.does("ada", "pause", workflow="declare-from-alert")
    await critical(example, "CheckoutIsDown", "QueueIsFull")
    await example.ends("QueueIsFull")
    await example.does("ada", "resume", workflow="declare-from-alert")
    (incident,) = example.subjects("incident")
    assert not any("QueueIsFull" in line for line in example.timeline(incident))
    assert example.states("declare-from-alert") == ["finished", "stopped"]


async def test_an_alert_that_ends_before_its_incident_is_declared_declares_none(example):
    await example.does("ada", "pause", workflow="declare-from-alert")
    await critical(example, "CheckoutIsDown")
    await example.ends("CheckoutIsDown")
    await example.does("ada", "resume", workflow="declare-from-alert")
    assert (incidents(example), example.states("declare-from-alert")) == ([], ["stopped"])


async def test_an_alert_of_no_service_is_somebody_s_to_look_at_and_no_incident(example):
    await critical(example, "CheckoutIsDown", service=None)
    assert (incidents(example), example.runs("declare-from-alert")) == ([], [])


async def test_alerts_of_one_service_wait_for_one_another_and_those_of_others_do_not(example):
    await example.does("ada", "pause", workflow="declare-from-alert")
    await critical(example, "CheckoutIsDown", "QueueIsFull")
    await critical(example, "SearchIsDown", service="search")
    assert example.states("declare-from-alert") == ["held", "waiting", "held"]


async def test_the_incident_says_what_the_alert_said_and_since_when(example):
    began = example.now
    await critical(example, "CheckoutIsDown", title="Checkout answers nobody")
    (incident,) = example.subjects("incident")
    assert (incident.title, incident.started_at) == ("Checkout answers nobody (checkout)", began)
    assert "Declared by the alert CheckoutIsDown." in example.timeline(incident)
